"""Does dropout shift the batch norms of a trained run, and does that predict its accuracies?

python -m benchmarks.probe --run runs/FOLDER                      the whole table
python -m benchmarks.probe --run runs/FOLDER --cell p4-seed0      one network, norm by norm
"""

import dataclasses
import functools
import json
import pathlib
import sys
from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import jax
import ml_collections
import numpy as np

from benchmarks.harness.arguments import Flag, run_command
from benchmarks.harness.catalog import load_study
from benchmarks.harness.plan import Plan, cell_name, settings_in
from benchmarks.harness.planning import make_plan
from flaxdrop.analysis import Probe, advise, probe, variance_shift
from flaxdrop.data import augment
from flaxdrop.plots.shift import draw_prediction, draw_shift
from flaxdrop.results import ledger
from flaxdrop.results.comparison import CONFIDENCE
from flaxdrop.results.correlation import rank_correlation
from flaxdrop.results.statistics import paired
from flaxdrop.table import Table
from flaxdrop.training import steps
from flaxdrop.training.steps import Images

_WHEN = ("before training", "after training")


@dataclasses.dataclass(frozen=True)
class Run:
    """A finished run, read from its folder.

    Attributes:
      plan: what it trained.
      rows: its finished cells.
      images: its data.
      batch: normalised training examples `[N, H, W, C]` to measure on.
    """

    plan: Plan[Any]
    rows: Sequence[ledger.Row]
    images: Images
    batch: jax.Array

    def row(self, cell: str) -> ledger.Row:
        """A finished cell by its name, as p4-seed0.

        Raises:
          ValueError: no such cell.
        """
        known = {cell_name(row.variant, row.seed): row for row in self.rows}
        if cell not in known:
            raise ValueError(f"cell: unknown {cell!r}, this run has {', '.join(known)}")
        return known[cell]

    def variables(self, variant: str, seed: int) -> tuple[dict[str, Any], dict[str, Any]]:
        """A cell's variables before and after training.

        Raises:
          ValueError: there is no checkpoint that can be read.
        """
        start = _starter(self.plan.task(self.plan.family(variant)))
        before = start(self.images, self.plan.cell(variant, seed))
        name = cell_name(variant, seed)
        loaded = self.plan.checkpoints.load(name, before)
        if loaded is None:
            raise ValueError(f"run: cell {name} has no checkpoint that can be read")
        return _variables(before), _variables(loaded[0])


@functools.cache
def _starter(task: steps.Task) -> Any:
    return jax.jit(functools.partial(steps.initial_state, task))


def _variables(state: steps.State) -> dict[str, Any]:
    return {"params": state.params, "batch_stats": state.batch_stats}


def open_run(folder: str, examples: int, data_dir: str) -> Run:
    """Reads what a run left.

    Args:
      folder: of the run.
      examples: how many to measure on; at most as many as it trained on.
      data_dir: as in `Settings`.

    Raises:
      ValueError: it is not a run, or has no finished cell.
      OSError: it cannot be read.
    """
    if examples < 2:
        raise ValueError(f"batch: must be at least 2, got {examples}")
    path = pathlib.Path(folder) / "settings.json"
    if not path.is_file():
        raise ValueError(f"run: {folder} is not the folder of a run, it has no settings.json")
    try:
        fields = settings_in(json.loads(path.read_text()))
        study = load_study(fields.pop("study"))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise ValueError(f"run: {path} is damaged, or of a newer flaxdrop") from None
    trained, _ = ledger.read(path.with_name("ledger.jsonl"))
    seeds = 1 + max((row.seed for row in trained), default=0)
    config = {**fields, "data_dir": data_dir, "seeds": seeds}
    plan = make_plan(study, study.settings.of(ml_collections.ConfigDict(config)), folder)
    plan.folder.check(study.name, plan.identity)
    rows, warnings = plan.recorded()
    for warning in warnings:
        print(f"warning: {warning}", file=sys.stderr)
    rows = [row for row in rows if row.status == "finished" and row.variant in plan.every_variant]
    if not rows:
        raise ValueError(f"run: {folder} has no finished cell")
    images = plan.images
    chosen = np.random.default_rng(0).permutation(len(images.x_train))[:examples]
    batch = augment.normalise(images.x_train[chosen], images.mean, images.std)
    return Run(plan, rows, images, batch)


def probe_cell(run: Run, cell: str, masks: int) -> None:
    """Prints the shifts of a trained network and what to do about them, and draws them.

    Raises:
      ValueError: no such cell.
    """
    row = run.row(cell)
    variant = run.plan.every_variant[row.variant]
    _, variables = run.variables(row.variant, row.seed)
    shift = variance_shift(variant.model, variables, run.batch, variant.placement, masks=masks)
    print(f"{run.plan.name}, {cell}: {variant.placement}\n\n{shift}")
    if variant.placement.slots:
        for advice in advise(variant.model, variables, run.batch, variant.placement, masks=masks):
            print(advice)
    else:
        print("No dropout is on: no batch norm is shifted.")
    path = run.plan.folder.picture(f"shift-{cell}")
    draw_shift(shift, path, title=f"{run.plan.name}, {cell}: {variant.placement}")
    print(f"picture   {path}")


def probe_table(run: Run, masks: int) -> None:
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
    shifts = _predict(run, differences, masks)
    found = {when: rank_correlation(shifts[when], differences) for when in _WHEN}
    effects = {
        name: paired(own, dict.fromkeys(own, 0.0), CONFIDENCE) for name, own in differences.items()
    }
    cells = tuple(
        (
            name,
            *(f"{shifts[when][name]:.3f}" for when in _WHEN),
            f"{of:+.2f}",
            f"{of.n}",
        )
        for name, of in effects.items()
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
        title=f"{run.plan.name}, {run.plan.dataset.name}: does the shift predict the harm?",
    )
    print(f"picture   {path}")


def _has_norms(run: Run, variant: str) -> bool:
    start = _starter(run.plan.task(run.plan.family(variant)))
    return bool(jax.eval_shape(start, run.images, run.plan.cell(variant, 0)).batch_stats)


def _predict(
    run: Run, cells: Mapping[str, Mapping[int, float]], masks: int
) -> dict[str, dict[str, float]]:
    """When -> variant -> shift of the network, mean over its seeds."""
    probes: dict[int, Probe] = {}
    shifts: dict[str, dict[str, float]] = {when: {} for when in _WHEN}
    for variant, seeds in cells.items():
        family = run.plan.family(variant)
        placement = family.placements[variant]
        sizes = []
        for seed in seeds:
            both = run.variables(variant, seed)
            if id(family) not in probes:
                probes[id(family)] = probe(family.model, both[0], run.batch, placement)
            made = probes[id(family)]
            measured = [made.measure(of, run.batch, placement, masks=masks) for of in both]
            sizes.append([shift.mean_abs_log_ratio for shift in measured])
        for when, size in zip(_WHEN, np.mean(sizes, axis=0), strict=True):
            shifts[when][variant] = float(size)
    return shifts


FLAGS = (
    Flag("run", "", "the folder of a run", required=True),
    Flag("cell", "", "one network of it, for example p4-seed0 (default: the whole table)"),
    Flag("batch", 256, "how many training images to measure on"),
    Flag("masks", 4, "how many dropout masks to average over"),
    Flag("data_dir", "", "where the data of the run are; as in the run"),
)


def main(arguments: Sequence[str]) -> int:
    """Runs the tool as a command line says; returns the exit status."""

    def run(options: SimpleNamespace) -> None:
        opened = open_run(options.run, options.batch, options.data_dir)
        if options.cell:
            probe_cell(opened, options.cell, options.masks)
        else:
            probe_table(opened, options.masks)

    return run_command(__doc__, FLAGS, run, arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
