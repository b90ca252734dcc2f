"""A run before it starts: its data, networks, cells and devices."""

import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import jax
import numpy as np

from benchmarks.harness.settings import Settings
from benchmarks.harness.variants import Family, Variant
from benchmarks.harness.workfolder import WorkFolder
from flaxdrop.data.dataset import Dataset
from flaxdrop.placement import Placement
from flaxdrop.results import ledger
from flaxdrop.training import steps
from flaxdrop.training.content import Content
from flaxdrop.training.frozen import FrozenNetwork
from flaxdrop.training.steps import Cell, Images, Task

if TYPE_CHECKING:
    from flaxdrop.training.checkpoint import Checkpoints

S = TypeVar("S", bound=Settings)


@dataclasses.dataclass(frozen=True)
class Plan(Generic[S]):
    """A study with its settings and its data, ready to train.

    It does not know the study itself: a study's functions take plans.

    Attributes:
      name: of the study.
      baseline: the variant that the others are compared with.
      settings: of the run.
      dataset: the examples, of which a cell may be trained on a part.
      pixels: those of them that some cell uses, with mean and standard deviation.
      subset: seed -> places in `pixels` of the examples that its cells are trained on; None: all.
      frozen: the network whose features the cells are trained on; None: on the pixels.
      content: what its cells are, but for their variants and seeds.
      every_variant: all of the study's, in the table's order.
      families: of all of them.
      variants: the names of those to train.
      devices: one cell trains on each.
      folder: where results go.
    """

    name: str
    baseline: str
    settings: S
    dataset: Dataset
    pixels: Images
    subset: Callable[[int], np.ndarray | None]
    frozen: FrozenNetwork | None
    content: Content
    every_variant: Mapping[str, Variant]
    families: list[Family]
    variants: tuple[str, ...]
    devices: list[jax.Device]
    folder: WorkFolder

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of one input of the networks, without the batch axis."""
        shape = self.dataset.image_shape
        return self.frozen.feature_shape(shape) if self.frozen else shape

    @functools.cached_property
    def images(self) -> Images:
        """The inputs of the networks: pixels, or features, which are computed once, when needed."""
        return self.frozen.features(self.pixels) if self.frozen else self.pixels

    @property
    def cells_in_parallel(self) -> int:
        """How many cells train at a time."""
        settings = self.settings
        return len(self.devices) // settings.devices_per_cell * settings.cells_per_device

    @property
    def total(self) -> int:
        """The number of cells that the settings ask for."""
        return len(self.variants) * self.settings.seeds

    def placement(self, variant: str) -> Placement:
        """The placement of a variant: its slots and their rates."""
        return self.every_variant[variant].placement

    @property
    def examples(self) -> int:
        """How many examples a cell is trained on."""
        return self.settings.train_examples or len(self.dataset.x_train)

    def task(self, family: Family) -> Task:
        """What the cells of a family have in common."""
        return Task(family.model, self.settings, self.examples)

    def cell(self, variant: str, seed: int) -> Cell:
        """A cell: its key, its placement, its schedule and its part of the examples."""
        return self.family(variant).cell(variant, seed).replace(subset=self.subset(seed))

    def family(self, variant: str) -> Family:
        """The family that a variant belongs to."""
        return next(family for family in self.families if variant in family.placements)

    @property
    def identity(self) -> dict[str, Any]:
        """The settings, numerics, data and weights that its work folder is made for."""
        return identity(self.settings, self.content)

    @property
    def checkpoints(self) -> "Checkpoints":
        """The checkpoints of its cells."""
        # Imported where it is used: configs and studies are read without it.
        from flaxdrop.training.checkpoint import Checkpoints

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


class Jobs(Mapping[str, Cell]):
    """Cells of a plan by their names, each made when it is asked for: there may be very many.

    Args:
      plan: whose cells they are.
      cells: (variant, seed) of each, in order.
    """

    def __init__(self, plan: Plan[Any], cells: Sequence[tuple[str, int]]) -> None:
        self._plan = plan
        self.named = {cell_name(variant, seed): (variant, seed) for variant, seed in cells}

    def __getitem__(self, name: str) -> Cell:
        return self._plan.cell(*self.named[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self.named)

    def __len__(self) -> int:
        return len(self.named)


def cell_name(variant: str, seed: int) -> str:
    """The name of the checkpoints of a cell, for example p6-seed0."""
    return f"{variant}-seed{seed}"


# What is beside the settings in the file of a work folder; a study has settings of like names.
_CONTENT = {"numerics": "numerics", "data": "data_digest", "weights": "weights_digest"}


def identity(settings: Settings, content: Content) -> dict[str, Any]:
    """The settings, numerics, data and weights that a work folder is made for."""
    named = {name: getattr(content, field) for field, name in _CONTENT.items()}
    return {**settings.identity(), **named}


def settings_in(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The settings in what a work folder was made for (`Plan.identity`)."""
    return {name: value for name, value in fields.items() if name not in _CONTENT.values()}
