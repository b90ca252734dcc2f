"""How long does a table take on so many devices? A model, held against the recorded runs.

python -m benchmarks.throughput.forecast --device_tflops 2.0

A cell takes its FLOPs over the speed of a device; with n devices n cells train at a time. The speed
is that of the recorded runs, or `--device_tflops`, of a device that you know.
"""

import collections
import dataclasses
import math
import pathlib
import statistics
import sys
from collections.abc import Iterable, Mapping, Sequence
from types import SimpleNamespace

from benchmarks.harness.arguments import Flag, tool
from benchmarks.harness.catalog import STUDIES, load_settings, load_study
from benchmarks.harness.estimate import cell_flops
from benchmarks.harness.settings import Settings
from flaxdrop.results import ledger
from flaxdrop.table import EMPTY, Table

LEDGER = pathlib.Path("benchmarks/ledger")
DEVICES = (1, 8, 64, 512, 4096)
SIDES = {"digits": 8, "cifar10": 32, "cifar100": 32}
EXAMPLES = {"digits": (900, 897), "cifar10": (50_000, 10_000), "cifar100": (50_000, 10_000)}
# ImageNet: 1,281,167 training images, 50,000 for validation.
EXAMPLES |= {"imagenet2012": (1_281_167, 50_000), "caltech101": (6_400, 1_371)}
CLASSES = {"imagenet2012": 1000, "cifar100": 100, "caltech101": 102}
TABLES = (
    ("preresnet", "configs/cifar10.py"),
    ("preresnet", "configs/cifar100.py"),
    ("preresnet", "configs/caltech101.py"),
    ("preresnet", "configs/imagenet.py:resnet"),
    ("head", "configs/imagenet.py"),
)


@dataclasses.dataclass(frozen=True)
class Run:
    """The recorded cells of a config.

    Attributes:
      name: study, data and depth.
      cells: how many.
      flops: of a cell, the mean.
      seconds: of a cell, the median.
    """

    name: str
    cells: int
    flops: float
    seconds: float

    @property
    def speed(self) -> float:
        """FLOPs a second of a device."""
        return self.flops / self.seconds


def settings_flops(study: str, settings: Settings) -> Mapping[str, float]:
    """The FLOPs of a cell of each variant."""
    train, test = EXAMPLES[settings.dataset]
    side = settings.image_size or SIDES[settings.dataset]
    channels = 1 if settings.dataset == "digits" else 3
    sizes = settings.train_examples or train, settings.test_examples or test
    every = load_study(study).variants(settings, CLASSES.get(settings.dataset, 10))
    return {
        name: cell_flops(variant.model, (side, side, channels), settings, *sizes)
        for name, variant in every.items()
    }


def recorded(folder: pathlib.Path) -> list[Run]:
    """The runs on CPUs in the ledgers of a folder, a config each."""
    found = []
    for study in STUDIES:
        by_config: dict[str, list[ledger.Row]] = collections.defaultdict(list)
        for row in ledger.read(folder / f"{study}.jsonl")[0]:
            if row.platform == "cpu" and row.config["dataset"] in SIDES:
                by_config[row.config_hash].append(row)
        for rows in by_config.values():
            config = rows[0].config
            flops = settings_flops(study, load_study(study).settings(**_tuples(config)))
            of_network = f"depth {config['depth']}, " if "depth" in config else ""
            name = (
                f"{study}, {config['dataset']}, {of_network}"
                f"{config['image_size'] or SIDES[config['dataset']]} pixels"
            )
            mean = statistics.fmean(flops[row.variant] for row in rows)
            seconds = statistics.median(row.wall_seconds for row in rows)
            found.append(Run(name, len(rows), mean, seconds))
    return found


def _tuples(config: Mapping[str, object]) -> dict[str, object]:
    return {
        name: tuple(value) if isinstance(value, list) else value for name, value in config.items()
    }


def speed_of(runs: Iterable[Run]) -> float:
    """The geometric mean of their speeds."""
    return statistics.geometric_mean(run.speed for run in runs)


def held_against(runs: Sequence[Run]) -> Table:
    """Each run as the others predict it."""
    cells = []
    for run in runs:
        others = [other for other in runs if other is not run]
        expected = run.flops / speed_of(others) if others else math.nan
        cells.append(
            (
                run.name,
                f"{run.cells}",
                f"{run.flops:.2e}",
                f"{run.seconds:.0f}",
                f"{run.speed / 1e9:.1f}",
                f"{expected:.0f}" if others else EMPTY,
                f"{expected / run.seconds:.2f}" if others else EMPTY,
            )
        )
    columns = (
        "recorded",
        "cells",
        "FLOPs a cell",
        "s a cell, median",
        "GFLOP/s",
        "expected s",
        "expected / recorded",
    )
    return Table(columns, tuple(cells), ("Expected: at the mean speed of the other lines.",))


def study_hours(cells: int, cell_hours: float, devices: int) -> float:
    """From the first cell to the last, where a device trains a cell at a time.

    >>> study_hours(cells=27, cell_hours=2.0, devices=8)
    8.0
    """
    return math.ceil(cells / devices) * cell_hours


def forecast(speed: float) -> Table:
    """What the full tables take at a speed, on more and more devices."""
    lines = []
    for study, config in TABLES:
        settings = load_settings(load_study(study), config)
        flops = settings_flops(study, settings)
        cells, hours = len(flops) * settings.seeds, statistics.fmean(flops.values()) / speed / 3600
        spans = [study_hours(cells, hours, devices) for devices in DEVICES]
        lines.append(
            (f"{study}, {config.removeprefix('configs/')}", f"{cells}", f"{cells * hours:,.0f}")
            + tuple(f"{span:,.1f}" for span in spans)
        )
    columns = ("table", "cells", "device-hours", *(f"h on {devices}" for devices in DEVICES))
    return Table(columns, tuple(lines), (f"At {speed / 1e12:.3g} TFLOP/s a device.",))


FLAGS = (Flag("device_tflops", 0.0, "the speed of a device; 0: that of the recorded runs"),)


@tool(__doc__, FLAGS)
def main(options: SimpleNamespace) -> None:
    """Prints both tables."""
    runs = recorded(LEDGER)
    print(held_against(runs).markdown())
    print(forecast(options.device_tflops * 1e12 or speed_of(runs)).markdown())


if __name__ == "__main__":
    sys.exit(main())
