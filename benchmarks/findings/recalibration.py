"""How much harm of dropout was the shift of batch norms: accuracy before and after repair."""

import functools
from collections.abc import Sequence
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.harness.plan import Plan
from flaxdrop.analysis import recalibrator
from flaxdrop.data.augment import normalise
from flaxdrop.results.comparison import Comparison
from flaxdrop.results.statistics import BySeed, Paired, paired
from flaxdrop.table import Table
from flaxdrop.training import steps

EXAMPLES = 2000  # training images that the statistics are measured on, at most
_BATCH = 500
# Variant -> seed -> (test accuracy in %, negative log-likelihood in nats).
Accuracies: TypeAlias = dict[str, dict[int, tuple[float, float]]]


def repair_table(plan: Plan[Any], comparison: Comparison) -> Table:
    """Recalibrates every trained network and evaluates it again.

    Cells without a checkpoint are left out.

    Args:
      plan: of a study of networks with batch norm.
      comparison: of its rows.
    """
    before: Accuracies = {}
    after: Accuracies = {}
    images = plan.images
    batches = functools.cache(functools.partial(_batches, plan))
    for family in plan.families:
        repair = recalibrator(family.model)
        evaluate = jax.jit(functools.partial(steps.evaluate, family.model))
        for row in comparison.rows:
            if row.variant not in family.placements or row.status != "finished":
                continue
            if trained := plan.trained(row.variant, row.seed):
                accuracy, nll, *_ = evaluate(images, repair(trained, batches(row.seed)))
                after.setdefault(row.variant, {})[row.seed] = (100 * float(accuracy), float(nll))
                told = (100 * row.last_accuracy, row.last_nll)
                before.setdefault(row.variant, {})[row.seed] = told
    order = [variant for variant in plan.every_variant if variant in after]
    return harm_table(before, after, order, plan.baseline, min(EXAMPLES, plan.examples))


def _batches(plan: Plan[Any], seed: int) -> list[jax.Array]:
    """Of the examples that the cells of a seed were trained on."""
    images, own = plan.images, plan.subset(seed)
    places = np.arange(len(images.x_train)) if own is None else own
    chosen = np.random.default_rng(0).permutation(places)[:EXAMPLES]
    x = normalise(jnp.asarray(images.x_train[chosen]), images.mean, images.std)
    return [x[first : first + _BATCH] for first in range(0, len(x), _BATCH)]


def harm_table(
    before: Accuracies, after: Accuracies, order: Sequence[str], baseline: str, examples: int
) -> Table:
    """The repair of every variant, and what is left of its difference to the baseline.

    Args:
      before: of the networks as they were trained.
      after: of the same seeds, repaired.
      order: of the variants.
      baseline: the variant that the others are compared with.
      examples: how many the statistics were measured on.
    """
    cells = []
    for variant in order:
        repairs = [
            paired(_values(after[variant], measure), _values(before[variant], measure))
            for measure in (0, 1)
        ]
        harms = [
            paired(_values(accuracies[variant], 0), _values(accuracies[baseline], 0))
            for accuracies in (before, after)
            if variant != baseline and baseline in accuracies
        ]
        left = (*(f"{harm:+.2f}" for harm in harms), _share(*harms)) if harms else ("-",) * 3
        repaired = (f"{repair:+.2f}" for repair in repairs)
        cells.append((variant, f"{len(after[variant])}", *repaired, *left))
    return Table(
        columns=(
            "variant",
            "n",
            "repair, points",
            "repair, NLL",
            f"last - {baseline} before, points",
            "after, points",
            "harm repaired",
        ),
        cells=tuple(cells),
        notes=(
            f"Repair: running statistics measured anew on {examples} training images with dropout"
            " off; differences are paired by seed [95 % t interval]. Harm repaired: the share of a"
            f" loss against {baseline} that is gone when both are repaired; told where the loss"
            " before leaves out 0.",
        ),
    )


def _values(cells: dict[int, tuple[float, float]], measure: int) -> BySeed:
    return {seed: values[measure] for seed, values in cells.items()}


def _share(before: Paired, after: Paired) -> str:
    if not before.high < 0:
        return "-"
    return f"{100 * (1 - after.mean / before.mean):.0f} %"
