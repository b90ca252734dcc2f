"""A run before it starts: its data, networks, cells and devices, all checked, nothing written."""

import dataclasses
import functools
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

import flaxdrop.data
from benchmarks.harness.settings import Settings
from benchmarks.harness.study import Family, Study, Variant, families, parameter_count, restrict
from benchmarks.harness.workfolder import WorkFolder, default_folder
from flaxdrop.data.dataset import Dataset
from flaxdrop.placement import Placement
from flaxdrop.results import ledger
from flaxdrop.results.provenance import config_hash
from flaxdrop.training import steps
from flaxdrop.training.cells import choose_devices, to_images
from flaxdrop.training.checkpoint import Checkpoints
from flaxdrop.training.content import NUMERICS, Content
from flaxdrop.training.environment import configure_jax
from flaxdrop.training.frozen import FrozenNetwork
from flaxdrop.training.steps import Cell, Images, Task


@dataclasses.dataclass(frozen=True)
class Plan:
    """A study with its settings and its data, ready to train.

    Attributes:
      study: the study.
      settings: of the run.
      dataset: the examples, of which a cell may be trained on a part.
      pixels: those of them that some cell uses, with mean and standard deviation.
      subsets: seed -> places in `pixels` of the examples that its cells are trained on; None: all.
      frozen: the network whose features the cells are trained on; None: on the pixels.
      content: what its cells are, but for their variants and seeds.
      families: of all variants of the study.
      variants: the names of those to train.
      devices: one cell trains on each.
      folder: where results go.
    """

    study: Study
    settings: Settings
    dataset: Dataset
    pixels: Images
    subsets: tuple[np.ndarray | None, ...]
    frozen: FrozenNetwork | None
    content: Content
    families: list[Family]
    variants: tuple[str, ...]
    devices: list[jax.Device]
    folder: WorkFolder

    @property
    def input_shape(self) -> tuple[int, ...]:
        """What the cells' networks take, without the examples' axis."""
        shape = self.dataset.image_shape
        return self.frozen.feature_shape(shape) if self.frozen else shape

    @functools.cached_property
    def images(self) -> Images:
        """What the cells are trained on: features are computed once, when they are needed."""
        return self.frozen.features(self.pixels) if self.frozen else self.pixels

    @property
    def total(self) -> int:
        """How many cells the settings ask for."""
        return len(self.variants) * self.settings.seeds

    @property
    def every_variant(self) -> Mapping[str, Variant]:
        """All of the study's, in the table's order."""
        return self.study.variants(self.settings, self.dataset.num_classes)

    def placement(self, variant: str) -> Placement:
        """What is on in a variant."""
        return self.every_variant[variant].placement

    @property
    def examples(self) -> int:
        """How many examples a cell is trained on."""
        return self.settings.train_examples or len(self.dataset.x_train)

    def task(self, family: Family) -> Task:
        """What the cells of a family have in common."""
        return Task(family.model, self.settings.recipe, self.examples)

    def cell(self, variant: str, seed: int) -> Cell:
        """What tells a cell from the others of its family."""
        return self.family(variant).cell(variant, seed).replace(subset=self.subsets[seed])

    def family(self, variant: str) -> Family:
        """That of a variant."""
        return next(family for family in self.families if variant in family.placements)

    @property
    def identity(self) -> dict[str, Any]:
        """Its content with the settings spelled out: what its folder is made for."""
        return _identity(self.settings, self.content)

    @property
    def checkpoints(self) -> Checkpoints:
        """Those of its cells."""
        return Checkpoints(self.folder.checkpoints, self.content)

    def recorded(self) -> tuple[list[ledger.Row], list[str]]:
        """The rows of its cells in the ledger, which others may share, and the warnings."""
        rows, warnings = ledger.read(self.folder.ledger)
        return [row for row in rows if row.content == self.content], warnings

    def finished(self, rows: Sequence[ledger.Row]) -> list[ledger.Row]:
        """The rows of the cells that the settings ask for."""
        seeds = range(self.settings.seeds)
        return [row for row in rows if row.variant in self.variants and row.seed in seeds]

    def trained(self, variant: str, seed: int) -> dict[str, Any] | None:
        """The variables of a cell, as its last checkpoint has them; None: there is none."""
        task, cell = self.task(self.family(variant)), self.cell(variant, seed)
        like = jax.eval_shape(lambda: steps.initial_state(task, self.images, cell))
        saved = self.checkpoints.load(cell_name(variant, seed), like)
        return saved and {"params": saved[0].params, "batch_stats": saved[0].batch_stats}

    def pending(self, family: Family, rows: Sequence[ledger.Row]) -> list[tuple[str, int]]:
        """The cells (variant, seed) of a family that the ledger lacks, seed by seed."""
        done = {(row.variant, row.seed) for row in rows}
        own = [name for name in self.variants if name in family.placements]
        every = [(name, seed) for seed in range(self.settings.seeds) for name in own]
        return [cell for cell in every if cell not in done]


def cell_name(variant: str, seed: int) -> str:
    """What the checkpoints of a cell are called."""
    return f"{variant}-seed{seed}"


def make_plan(
    study: Study,
    settings: Settings,
    workdir: str | None,
    shared_ledger: pathlib.Path | None = None,
) -> Plan:
    """Loads the data and checks everything that can be wrong, writing nothing.

    Args:
      study: what to run.
      settings: of the run.
      workdir: where results go; None: a folder of the config's own.
      shared_ledger: where finished cells go instead.

    Raises:
      ValueError, OSError: what the user got wrong.
    """
    configure_jax()
    jax.config.update("jax_default_matmul_precision", MATMUL_PRECISION[settings.precision])
    devices = choose_devices(settings.devices)
    dataset = flaxdrop.data.load(
        settings.dataset,
        image_size=settings.image_size or None,
        data_dir=settings.data_dir or None,
        test_examples=settings.test_examples or None,
    )
    recipe = settings.recipe
    recipe.steps_per_epoch(settings.train_examples or len(dataset.x_train))
    pixels, subsets = _draw(to_images(dataset, recipe.mean, recipe.std), dataset, settings)
    frozen = study.frozen(settings) if study.frozen else None
    chosen = restrict(study, settings, dataset.num_classes)
    every = families(study.variants(settings, dataset.num_classes), recipe.dropout_schedule)
    content = Content(
        config_hash=config_hash(settings.identity()),
        numerics=NUMERICS,
        data=dataset.digest,
        weights=frozen.digest if frozen else "",
    )
    path = (
        pathlib.Path(workdir)
        if workdir
        else default_folder(study.name, settings.dataset, _identity(settings, content))
    )
    plan = Plan(
        study=study,
        settings=settings,
        dataset=dataset,
        pixels=pixels,
        subsets=subsets,
        frozen=frozen,
        content=content,
        families=every,
        variants=tuple(chosen),
        devices=devices,
        folder=WorkFolder(path, shared_ledger),
    )
    for family in every:
        if chosen.keys() & family.placements.keys():
            parameter_count(family.model, plan.input_shape)  # refuses images that do not fit it
    return plan


def _draw(
    images: Images, dataset: Dataset, settings: Settings
) -> tuple[Images, tuple[np.ndarray | None, ...]]:
    """The images that some seed is trained on, and which of them each seed is."""
    if settings.train_examples in (0, len(dataset.x_train)):
        return images, (None,) * settings.seeds
    drawn = [dataset.drawn(settings.train_examples, seed) for seed in range(settings.seeds)]
    used = np.unique(np.concatenate(drawn))
    own = images.replace(x_train=images.x_train[used], y_train=images.y_train[used])
    return own, tuple(np.searchsorted(used, part).astype(np.int32) for part in drawn)


# What is beside the settings in the file of a work folder; a study has settings of like names.
_CONTENT = {"numerics": "numerics", "data": "data_digest", "weights": "weights_digest"}


def _identity(settings: Settings, content: Content) -> dict[str, Any]:
    named = {name: getattr(content, field) for field, name in _CONTENT.items()}
    return {**settings.identity(), **named}


def settings_in(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The settings in what a work folder was made for (`Plan.identity`)."""
    return {name: value for name, value in fields.items() if name not in _CONTENT.values()}


MATMUL_PRECISION = {"float32": "float32", "tensorfloat32": "tensorfloat32", "bfloat16": "default"}
