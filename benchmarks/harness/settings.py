"""The settings of a run: a config file and its overrides, frozen and checked at the boundary."""

import dataclasses
import re
from typing import Any, Self

import ml_collections

from benchmarks.harness.precision import PRECISIONS, activation_dtype
from flaxdrop.training.recipe import Recipe, require

# Far above what is of use, and below what overflows, aborts the process or takes all memory before
# anything can be said. Those of studies are among them; of a tuple, for each of its numbers.
_LARGEST = {
    "epochs": 100_000,
    "batch": 1_000_000,
    "crop": 1_000,
    "learning_rate": 1e30,
    "weight_decay": 1e30,
    "image_size": 2_048,
    "train_examples": 1_000_000_000,
    "test_examples": 1_000_000_000,
    "seeds": 1_000_000,
    "decide": 1_000_000,
    "cells_per_device": 1_000,
    "workers": 1_000,
    "depth": 2_000,
    "widths": 100_000,
    "layers": 1_000,
    "growth": 10_000,
    "units": 1_000_000,
}
_LEAST = {
    **dict.fromkeys(("image_size", "train_examples", "test_examples", "decide"), 0),
    **dict.fromkeys(("devices", "workers"), 0),
    **dict.fromkeys(("seeds", "cells_per_device", "devices_per_cell", "growth", "units"), 1),
}
_LONGEST = 1_000  # numbers in a tuple
_UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings(Recipe):
    """The settings that every study has, besides its recipe; a study adds those of its network.

    Fields that many networks have are checked for a study: widths, layers, growth, units; rate,
    rates, dense_rate.

    Attributes:
      dataset: "digits", "cifar10", "cifar100", "npz:FILE", "folder:DIR" or "split:DIR".
      data_dir: of tensorflow-datasets, or a folder with `cifar10.npz`, `cifar100.npz`; empty:
        the default of tensorflow-datasets.
      image_size: side in pixels to resize to; 0: as they are (those of a folder must be of one
        size).
      train_examples: a fixed, balanced part of the training set; 0: all.
      test_examples: likewise.
      variants: names, separated by commas; empty: those of the study.
      seeds: how many; seed 0 is the first.
      decide: add seeds, up to so many, until every planned contrast of the study is decided; 0: no.
      precision: of products on accelerators: "float32", "tensorfloat32"; "bfloat16": also of the
        activations, parameters and statistics stay f32.
      devices: how many to train on; 0: all there are.
      cells_per_device: how many cells train on a device at a time, vectorised.
      devices_per_cell: how many devices the batch of a cell is split over; results are the same
        but for rounding.
      workers: processes that read images for each seed, where they are read while training; 0:
        threads.
      checkpoint_seconds: between two checkpoints of a cell in training.
      time_budget: for example "90s", "8m", "2h"; empty: none.

    """

    dataset: str
    data_dir: str = ""
    image_size: int = 0
    train_examples: int = 0
    test_examples: int = 0
    variants: str = ""
    seeds: int = 3
    decide: int = 0
    precision: str = "tensorfloat32"
    devices: int = 0
    cells_per_device: int = 1
    devices_per_cell: int = 1
    workers: int = 0
    checkpoint_seconds: float = 60.0
    time_budget: str = ""

    @classmethod
    def config(cls) -> ml_collections.ConfigDict:
        """Every field with its default, for a config file to fill in; unknown ones are refused."""
        values = {
            field.name: ml_collections.config_dict.placeholder(field.type)
            if field.default is dataclasses.MISSING
            else field.default
            for field in dataclasses.fields(cls)
        }
        return ml_collections.ConfigDict(values).lock()

    @classmethod
    def of(cls, config: ml_collections.ConfigDict) -> Self:
        """Freezes a config.

        Raises:
          ValueError: a field that is unknown, missing, of the wrong type or out of its range.
        """
        fields = {field.name: field for field in dataclasses.fields(cls)}
        values = dict(config.items())
        for name in values:
            if name not in fields:
                raise ValueError(f"{name}: unknown field, choose one of {', '.join(fields)}")
        for name, field in fields.items():
            if values.get(name) is None and field.default is dataclasses.MISSING:
                raise ValueError(f"{name}: missing in the config")
        return cls(**{name: _typed(fields[name], value) for name, value in values.items()})

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, largest in _LARGEST.items():
            value = getattr(self, name, 0)
            if max(value, default=0) > largest if isinstance(value, tuple) else value > largest:
                raise ValueError(f"{name}: must be at most {largest}, got {value}")
        for name, least in _LEAST.items():
            value = getattr(self, name, least)
            require(value >= least, name, value, f"at least {least}")
        for name in ("widths", "layers"):
            values = getattr(self, name, (1,))
            require(min(values, default=0) >= 1, name, values, "one number or more above 0")
        rates = getattr(self, "rates", (0.0,))
        inside = bool(rates) and all(0 <= rate <= 1 for rate in rates)
        require(inside, "rates", rates, "one or more in [0, 1]")
        for name in ("rate", "dense_rate"):
            rate = getattr(self, name, 0.0)
            require(0 <= rate <= 1, name, rate, "in [0, 1]")
        known = f"one of {', '.join(PRECISIONS)}"
        require(self.precision in PRECISIONS, "precision", self.precision, known)
        seconds = self.checkpoint_seconds
        require(seconds > 0, "checkpoint_seconds", seconds, "above 0")
        divides = self.batch % self.devices_per_cell == 0
        words = f"a divisor of the batch, {self.batch}"
        require(divides, "devices_per_cell", self.devices_per_cell, words)
        _ = self.budget_seconds

    @property
    def dtype(self) -> Any:
        """The dtype of the network's activations."""
        return activation_dtype(self.precision)

    @property
    def budget_seconds(self) -> float | None:
        """The time budget in seconds; None: there is none."""
        return budget_seconds(self.time_budget)

    def identity(self) -> dict[str, Any]:
        """The fields that a cell's result depends on, besides its variant and seed."""
        defaults = {field.name: field.default for field in dataclasses.fields(self)}
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in dataclasses.asdict(self).items()
            if name not in _NOT_IDENTITY and not (name in _LATER and value == defaults[name])
        }


# A run may grow by seeds and variants, move to another device count and stop when it likes.
_NOT_IDENTITY = (
    "data_dir",
    "variants",
    "seeds",
    "decide",
    "devices",
    "devices_per_cell",
    "workers",
    "checkpoint_seconds",
    "time_budget",
)

# Fields that came after rows were recorded: at their default, a config is the one that it was.
_LATER = ("stem", "augmentation")


def budget_seconds(text: str) -> float | None:
    """A time budget in seconds; None for the empty one.

    Raises:
      ValueError: it is not a time.

    >>> from benchmarks.harness.settings import budget_seconds
    >>> budget_seconds("1.5m")
    90.0
    """
    if not text:
        return None
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smh]?)", text.strip())
    if not match:
        raise ValueError(f"time_budget: must be like 90s, 8m or 2h, got {text!r}")
    return float(match[1]) * _UNITS[match[2]]


def _typed(field: dataclasses.Field[Any], value: Any) -> Any:
    """`value` as the field's type; numbers widen, nothing else is converted."""
    wanted = field.type
    if wanted == tuple[float, ...] or wanted == tuple[int, ...]:
        number, numbers = (int, int) if wanted == tuple[int, ...] else (float, (int, float))
        values = value if isinstance(value, (tuple, list)) else (value,)
        if len(values) > _LONGEST:
            raise ValueError(f"{field.name}: must be at most {_LONGEST} numbers, got {len(values)}")
        if all(isinstance(item, numbers) and not isinstance(item, bool) for item in values):
            return tuple(_number(field.name, number, item) for item in values)
    elif wanted is float and isinstance(value, int) and not isinstance(value, bool):
        return _number(field.name, float, value)
    elif isinstance(wanted, type) and type(value) is wanted:
        return value
    expected = wanted.__name__ if isinstance(wanted, type) else str(wanted)
    raise ValueError(f"{field.name}: must be of type {expected}, got {value!r}")


def _number(name: str, kind: type[int] | type[float], value: Any) -> Any:
    try:
        return kind(value)
    except OverflowError:
        raise ValueError(f"{name}: must be a number below 1e308, got a larger one") from None
