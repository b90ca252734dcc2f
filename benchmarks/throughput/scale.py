"""What does training cost as depth, batch, cells and slots grow? A picture and a table each.

python -m benchmarks.throughput.scale
"""

import dataclasses
import pathlib
import statistics
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import jax

from benchmarks.harness.arguments import Flag, tool
from benchmarks.harness.precision import set_matmul_precision
from benchmarks.throughput import ours, workload
from benchmarks.throughput.contest import in_rounds
from benchmarks.throughput.workload import Workload
from flaxdrop.placement import Placement
from flaxdrop.plots.scaling import QUANTITIES, Cost, draw_scale, straight
from flaxdrop.table import EMPTY, Table
from flaxdrop.training.cells import choose_devices, compile_programs
from flaxdrop.training.environment import configure_jax
from flaxdrop.training.steps import Cell, Images

_ROUNDS = 5
_EXAMPLES = 512


@dataclasses.dataclass(frozen=True)
class Point:
    """A training that is measured.

    Attributes:
      depth: of the PreResNet.
      batch: examples a step.
      slots: how many are live, of the eight of a block.
      cells: how many train at a time.
    """

    depth: int
    batch: int
    slots: int = 1
    cells: int = 1


@dataclasses.dataclass(frozen=True)
class Sweep:
    """What grows, and in what: size -> point."""

    what: str
    title: str
    points: Mapping[int, Point]


@dataclasses.dataclass(frozen=True)
class Sizes:
    """What is measured.

    Attributes:
      depths: of a PreResNet, in batches of `deep_batch` images.
      deep_batch: small, for the deepest must fit in the memory.
      batches: of PreResNet `depth`.
      batch: where it does not grow.
      cells: at most so many at a time.
      slots: how many are live, of the eight of a block.
      depth: where it does not grow.
      side: of the images, in pixels.
      seconds: that a round lasts, about.
    """

    depths: tuple[int, ...] = (20, 56, 110, 218, 434, 1202)
    deep_batch: int = 16
    batches: tuple[int, ...] = (16, 32, 64, 128, 256)
    batch: int = 64
    cells: int = 4
    slots: tuple[int, ...] = (0, 1, 2, 4, 8)
    depth: int = 20
    side: int = 16
    seconds: float = 0.5


QUICK = Sizes((8, 14), 2, (2, 4), 2, cells=2, slots=(0, 8), depth=8, side=8, seconds=0.01)


def sweeps(sizes: Sizes, devices: Sequence[jax.Device]) -> list[Sweep]:
    """What is measured on these devices."""
    own, deep = Point(sizes.depth, sizes.batch), sizes.deep_batch
    network, pixels = f"PreResNet-{own.depth}", f"images of {sizes.side}x{sizes.side} pixels"
    where = f"{len(devices)} devices ({devices[0].device_kind})"
    cells = [n for n in range(1, sizes.cells + 1) if spread(n, devices)]
    same = f"{network}, batch {own.batch}, {pixels}"

    def grown(field: str, values: Iterable[int]) -> dict[int, Point]:
        return {value: dataclasses.replace(own, **{field: value}) for value in values}

    depths = {depth: Point(depth, deep) for depth in sizes.depths}
    return [
        Sweep("depth", f"PreResNet, batch {deep}, {pixels}", depths),
        Sweep("batch", f"{network}, {pixels}", grown("batch", sizes.batches)),
        Sweep("cells", f"{same}, {where}", grown("cells", cells)),
        Sweep("slots", same, grown("slots", sizes.slots)),
    ]


def spread(cells: int, devices: Sequence[jax.Device]) -> tuple[Sequence[jax.Device], int] | None:
    """The devices, and how many cells on each; None where they do not go.

    A CPU core takes one: vectorised, convolutions with weights of their own are slow.
    """
    if cells <= len(devices):
        return devices[:cells], 1
    if devices[0].platform == "cpu" or cells % len(devices):
        return None
    return devices, cells // len(devices)


def measure(
    point: Point, images: Images, devices: Sequence[jax.Device], seconds: float
) -> tuple[float, float, int]:
    """Trains for some rounds of about `seconds`.

    Returns:
      Seconds of a step, the median of the rounds; seconds of compiling; temporary bytes.
    """
    task = ours.make_task(Workload(point.depth, point.batch, augmented=True), "float32")
    task = dataclasses.replace(task, examples=len(images.x_train))
    # One slot is p6, as elsewhere.
    names = sorted(ours.POSITIONS, key=lambda slot: slot != "p6")[: point.slots]
    rates = dict.fromkeys(names, workload.RATE)
    model: Any = task.model
    placement = Placement(rates).broadcast(model.slots)
    found = spread(point.cells, devices)
    assert found is not None
    cells = [Cell(jax.random.key(i), placement) for i in range(point.cells)]
    programs = compile_programs(task, images, cells[0], *found)
    take = ours.make_steps(programs, cells, programs.train)
    work, _ = in_rounds(take, seconds, fewest=1)
    times = []
    for _ in range(_ROUNDS):
        began = time.perf_counter()
        steps = work()
        times.append((time.perf_counter() - began) / steps)
    return statistics.median(times), programs.compile_seconds, programs.temporary_bytes


def table(what: str, costs: Sequence[Cost]) -> Table:
    """The costs, and the largest deviation of each from its straight line."""
    sizes = [cost.size for cost in costs]
    lines = [straight(sizes, [quantity(cost) for cost in costs]) for _, _, quantity in QUANTITIES]
    cells = [
        (str(cost.size), *(f"{quantity(cost):.4g}" for _, _, quantity in QUANTITIES))
        for cost in costs
    ]
    cells.append(("slope", *(f"{line.slope:.3g}" if line else EMPTY for line in lines)))
    cells.append(
        ("largest deviation", *(f"{line.deviation:.1%}" if line else EMPTY for line in lines))
    )
    columns = (what, *(f"{name}, {unit}" for name, unit, _ in QUANTITIES))
    return Table(columns, tuple(cells), ())


FLAGS = (
    Flag("quick", False, "tiny sizes, to see that it runs"),
    Flag("folder", "docs", "the folder that the pictures go to"),
)


@tool(__doc__, FLAGS)
def main(options: SimpleNamespace) -> None:
    """Measures, prints and draws.

    Raises:
      OSError: the pictures cannot be written.
    """
    sizes, folder = QUICK if options.quick else Sizes(), pathlib.Path(options.folder)
    if not folder.is_dir():
        raise OSError(f"folder: {folder} is not there; name one that is")
    configure_jax()
    # What compiling costs, not what keeping programs saves.
    jax.config.update("jax_enable_compilation_cache", False)
    set_matmul_precision("float32")
    devices = choose_devices(0)
    images = ours.noise_images(_EXAMPLES, sizes.side)
    known: dict[Point, tuple[float, float, int]] = {}
    for sweep in sweeps(sizes, devices):
        for point in sweep.points.values():
            if point not in known:
                known[point] = measure(point, images, devices, sizes.seconds)
        costs = [Cost(size, *known[point]) for size, point in sweep.points.items()]
        print(f"{sweep.title}:\n\n{table(sweep.what, costs).markdown()}", flush=True)
        if len(costs) > 2:  # two points make every line
            path = folder / f"scale_{sweep.what}.png"
            draw_scale(costs, path, what=sweep.what, title=f"Cost by {sweep.what}: {sweep.title}")
            print(f"picture   {path}\n", flush=True)


if __name__ == "__main__":
    sys.exit(main())
