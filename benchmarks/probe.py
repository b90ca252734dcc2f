"""Does dropout shift the batch norms of a trained run, and does that predict its accuracies?

python -m benchmarks.probe --run runs/FOLDER                      the whole table
python -m benchmarks.probe --run runs/FOLDER --cell p4-seed0      one network, norm by norm
"""

import functools
import sys
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import jax
import numpy as np

from benchmarks.harness.any_network import LinenNetwork, Measure, NnxNetwork
from benchmarks.harness.arguments import Flag, tool
from benchmarks.harness.finished_run import FinishedRun, open_run
from flaxdrop.analysis import advise, probe
from flaxdrop.analysis.shift import Shift
from flaxdrop.placement import Placement
from flaxdrop.plots.shift import draw_prediction, draw_shift
from flaxdrop.results.correlation import rank_correlation
from flaxdrop.results.regime import regime
from flaxdrop.results.statistics import paired
from flaxdrop.table import Table

_WHEN = ("before training", "after training")


def probe_cell(run: FinishedRun, batch: jax.Array, cell: str, masks: int) -> None:
    """Prints the shifts of a trained network and what to do about them, and draws them.

    Raises:
      ValueError: no such cell.
    """
    model, variables, placement = run.load(cell)
    shift = measurer(model, variables, batch, placement)(variables, batch, placement, masks)
    print(f"{run.plan.name}, {cell}: {placement}\n\n{shift}")
    if placement.slots:
        own = isinstance(model, LinenNetwork | NnxNetwork)
        found = model.advise if own else functools.partial(advise, model)
        for advice in found(variables, batch, placement, masks=masks):
            print(advice)
    else:
        print("No dropout is on: no batch norm is shifted.")
    path = run.plan.folder.picture(f"shift-{cell}")
    draw_shift(shift, path, title=f"{run.plan.name}, {cell}: {placement}")
    print(f"picture   {path}")


def probe_table(run: FinishedRun, batch: jax.Array, masks: int) -> None:
    """Prints and draws the shift of every variant beside its paired accuracy difference.

    Variants without batch norm are left out.

    Raises:
      ValueError: there is nothing to compare.
    """
    baseline = run.plan.baseline
    accuracy: dict[str, dict[int, float]] = {}
    for row in run.rows:
        accuracy.setdefault(row.variant, {})[row.seed] = 100 * row.last_accuracy
    base = accuracy.pop(baseline, {})
    differences = {
        name: {seed: own[seed] - base[seed] for seed in sorted(own.keys() & base.keys())}
        for name in run.plan.every_variant
        if (own := accuracy.get(name, {})).keys() & base.keys()
    }
    normless = [name for name in differences if not _has_norms(run, name)]
    for name in normless:
        del differences[name]
    if len(differences) < 3:
        raise ValueError(
            f"run: has {len(differences)} variants with batch norm to compare with {baseline}, must"
            " be at least 3"
        )
    shifts = _predict(run, batch, differences, masks)
    found = {when: rank_correlation(shifts[when], differences) for when in _WHEN}
    effects = {name: paired(accuracy[name], base) for name in differences}
    cells = tuple(
        (
            name,
            *(f"{shifts[when][name]:.3f}" for when in _WHEN),
            f"{effect:+.2f}",
            f"{effect.n}",
        )
        for name, effect in effects.items()
    )
    columns = ("variant", *(f"shift {when}" for when in _WHEN), f"last - {baseline}, points", "n")
    notes = (
        "Shift: mean |log variance ratio| over the batch norms, mean over the seeds.",
        *(f"Rank correlation of the shift {when}: {found[when]}." for when in _WHEN),
        *(f"{name} has no batch norm, nothing to shift: left out." for name in normless),
    )
    print(Table(columns, cells, notes).text())
    path = run.plan.folder.picture("prediction")
    draw_prediction(
        {when: (shifts[when], found[when]) for when in _WHEN},
        effects,
        path,
        baseline=baseline,
        subtitle=regime(run.study.compare(run.rows, run.plan.every_variant)),
    )
    print(f"picture   {path}")


def _has_norms(run: FinishedRun, variant: str) -> bool:
    start, cell = run.starter(variant), run.plan.cell(variant, 0)
    return bool(jax.eval_shape(start, run.images, cell).batch_stats)


def _predict(
    run: FinishedRun, batch: jax.Array, cells: Mapping[str, Mapping[int, float]], masks: int
) -> dict[str, dict[str, float]]:
    """When -> variant -> shift of the network, mean over its seeds."""
    probes: dict[int, Measure] = {}
    shifts: dict[str, dict[str, float]] = {when: {} for when in _WHEN}
    for variant, seeds in cells.items():
        sizes = []
        for seed in seeds:
            both = run.variables(variant, seed)
            measured = [measure_shift(run, probes, variant, own, batch, masks) for own in both]
            sizes.append([shift.mean_abs_log_ratio for shift in measured])
        for when, size in zip(_WHEN, np.mean(sizes, axis=0), strict=True):
            shifts[when][variant] = float(size)
    return shifts


def measure_shift(
    run: FinishedRun,
    probes: dict[int, Measure],
    variant: str,
    variables: Mapping[str, Any],
    batch: jax.Array,
    masks: int,
) -> Shift:
    """The shift of a network of a variant; those of a family share one compilation.

    Args:
      run: whose networks they are.
      probes: what was compiled before; a family that is not in it is added.
      variant: its name.
      variables: of the network.
      batch: training examples `[N, H, W, C]`.
      masks: how many to average over.

    Raises:
      ValueError: it has no batch norm.
    """
    family = run.plan.family(variant)
    placement = family.placements[variant]
    if id(family) not in probes:
        probes[id(family)] = measurer(family.model, variables, batch, placement)
    return probes[id(family)](variables, batch, placement, masks)


def measurer(model: Any, variables: Any, batch: Any, placement: Placement) -> Measure:
    """Makes a network of a run ready to be measured, as `flaxdrop.analysis.probing.probe` does."""
    if isinstance(model, LinenNetwork | NnxNetwork):
        return model.probe(variables, batch, placement)
    made = probe(model, variables, batch, placement)
    return lambda variables, batch, placement, masks: made.measure(
        variables, batch, placement, masks=masks
    )


FLAGS = (
    Flag("run", "", "the folder of a run", required=True),
    Flag("cell", "", "one network of it, for example p4-seed0 (default: the whole table)"),
    Flag("batch", 256, "how many training images to measure on"),
    Flag("masks", 4, "how many dropout masks to average over"),
    Flag("data_dir", "", "where the data of the run are; as in the run"),
)


@tool(__doc__, FLAGS)
def main(options: SimpleNamespace) -> None:
    """Runs the tool."""
    opened = open_run(options.run, options.data_dir)
    batch = opened.batch(options.batch)
    if options.cell:
        probe_cell(opened, batch, options.cell, options.masks)
    else:
        probe_table(opened, batch, options.masks)


if __name__ == "__main__":
    sys.exit(main())
