"""A run that was trained: its cells and their networks, read from its folder."""

import dataclasses
import functools
import json
import pathlib
from collections.abc import Sequence
from typing import Any

import jax
import ml_collections
import numpy as np

from benchmarks.harness.arguments import warn
from benchmarks.harness.catalog import load_study
from benchmarks.harness.plan import Plan, cell_name, settings_in
from benchmarks.harness.planning import load_data, make_plan
from benchmarks.harness.study import Study
from flaxdrop.data import augment
from flaxdrop.placement import Placement
from flaxdrop.results import ledger
from flaxdrop.training import steps
from flaxdrop.training.steps import Images


@dataclasses.dataclass(frozen=True)
class FinishedRun:
    """A run with finished cells.

    Attributes:
      study: whose run it is.
      plan: what it trained.
      rows: its finished cells.
    """

    study: Study[Any]
    plan: Plan[Any]
    rows: Sequence[ledger.Row]

    @property
    def images(self) -> Images:
        """Its data, as its networks take them but for the normalisation."""
        return self.plan.images

    def batch(self, examples: int) -> jax.Array:
        """Normalised training examples `[N, H, W, C]` to measure on, drawn at random.

        Raises:
          ValueError: fewer than 2 are asked for.
        """
        if examples < 2:
            raise ValueError(f"batch: must be at least 2, got {examples}")
        images = self.images
        chosen = np.random.default_rng(0).permutation(len(images.x_train))[:examples]
        return augment.normalise(images.x_train[chosen], images.mean, images.std)

    def row(self, cell: str) -> ledger.Row:
        """The row of a finished cell.

        Args:
          cell: its name, as p4-seed0.

        Raises:
          ValueError: no such cell.
        """
        known = {cell_name(row.variant, row.seed): row for row in self.rows}
        if cell not in known:
            raise ValueError(f"cell: unknown {cell!r}, this run has {', '.join(known)}")
        return known[cell]

    def load(self, cell: str) -> tuple[Any, dict[str, Any], Placement]:
        """A trained network.

        Args:
          cell: its name, as p4-seed0.

        Returns:
          The network, its variables after training, and the placement that it was trained with.

        Raises:
          ValueError: no such cell, or no checkpoint of it that can be read.
        """
        row = self.row(cell)
        variant = self.plan.every_variant[row.variant]
        return variant.model, self.variables(row.variant, row.seed)[1], variant.placement

    def variables(self, variant: str, seed: int) -> tuple[dict[str, Any], dict[str, Any]]:
        """A cell's variables before and after training.

        Raises:
          ValueError: there is no checkpoint that can be read.
        """
        before = self.starter(variant)(self.images, self.plan.cell(variant, seed))
        name = cell_name(variant, seed)
        loaded = self.plan.checkpoints.load(name, before)
        if loaded is None:
            raise ValueError(f"run: cell {name} has no checkpoint that can be read")
        return _variables(before), _variables(loaded[0])

    def starter(self, variant: str) -> Any:
        """A compiled function: images and a cell of this variant -> its state before training."""
        return _starter(self.plan.task(self.plan.family(variant)))


@functools.cache
def _starter(task: steps.Task) -> Any:
    return jax.jit(functools.partial(steps.initial_state, task))


def _variables(state: steps.State) -> dict[str, Any]:
    return {"params": state.params, "batch_stats": state.batch_stats}


def _rates(rows: Sequence[ledger.Row]) -> tuple[float, ...]:
    """The rates of dropout in the placements of some cells."""
    placements = [Placement.parse(row.placement) for row in rows]
    return tuple(sorted({float(rate) for p in placements for rate in p.rates.values()}))


def open_run(folder: str, data_dir: str = "") -> FinishedRun:
    """Reads what a run left. What cannot be read of its ledger is told on stderr.

    Args:
      folder: its work folder.
      data_dir: as in `Settings`.

    Raises:
      ValueError: it is not the folder of a run, has no finished cell, or its study is gone.
      OSError: it cannot be read.
    """
    path = pathlib.Path(folder) / "settings.json"
    if not path.is_file():
        raise ValueError(f"run: {folder} is not the folder of a run, it has no settings.json")
    try:
        fields = settings_in(json.loads(path.read_text()))
        name, source = fields.pop("study"), fields.pop("source", "")
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise ValueError(f"run: {path} is damaged, or of a newer flaxdrop") from None
    try:
        study = load_study(name, source)
    except ValueError as error:
        raise ValueError(f"run: {folder} cannot be read: {error}") from None
    trained, _ = ledger.read(path.with_name("ledger.jsonl"))
    seeds = 1 + max((row.seed for row in trained), default=0)
    config = {**fields, "data_dir": data_dir, "seeds": seeds}
    if study.prepare:
        config["rates"] = _rates(trained)  # other rates train no other cells: no setting has them
    settings = study.settings.of(ml_collections.ConfigDict(config))
    dataset = None
    if study.prepare:
        dataset = load_data(settings, without_data=False)
        study = study.prepare(settings, dataset)
    plan = make_plan(study, settings, folder, dataset=dataset)
    plan.folder.check(study.name, plan.identity)
    rows, warnings = plan.recorded()
    warn(warnings)
    rows = [row for row in rows if row.status == "finished" and row.variant in plan.every_variant]
    if not rows:
        raise ValueError(f"run: {folder} has no finished cell")
    return FinishedRun(study, plan, rows)
