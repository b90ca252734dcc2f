"""The interleaved benchmarks, and the rows of the table that their results give."""

import dataclasses
import statistics
from collections.abc import Callable, Mapping, Sequence

from benchmarks.throughput import roofline
from benchmarks.throughput.contest import Contestant, Result
from benchmarks.throughput.workload import WORKLOADS

Results = Mapping[str, Result]
_IMAGES_OF_TABLE = 27 * 164 * 50_000  # cells x epochs x images of CIFAR-100


@dataclasses.dataclass(frozen=True)
class Measurement:
    """A row of the table.

    Attributes:
      what: is measured.
      asked: of it, in words; empty: nothing.
      value: the median of the rounds, or None: it could not be measured.
      low: the smallest; None where there is one value only.
      high: the largest.
      reached: whether the value is as asked; None: nothing is, or there is no value.
      note: why there is no value, or what else is to be known.
    """

    what: str
    asked: str
    value: float | None = None
    low: float | None = None
    high: float | None = None
    reached: bool | None = None
    note: str = ""


@dataclasses.dataclass(frozen=True)
class InterleavedBenchmark:
    """Contestants that take turns, and the rows that their speeds give.

    Attributes:
      name: of it.
      contestants: who takes part.
      measurements: their results -> rows.
    """

    name: str
    contestants: Sequence[Contestant]
    measurements: Callable[[Results], list[Measurement]]


def compared(
    what: str,
    ours: Result,
    theirs: Result,
    *,
    least: float | None = None,
    most: float | None = None,
) -> Measurement:
    """How many times as fast ours is, asked to be `least`; or as long it takes, at `most`."""
    if not (ours.speeds and theirs.speeds):
        return _measured(what, [], least, most, ours.failure or theirs.failure)
    ratios = [a / b for a, b in zip(ours.speeds, theirs.speeds, strict=True)]
    return _measured(what, ratios if most is None else [1 / r for r in ratios], least, most)


def _measured(
    what: str,
    values: Sequence[float],
    least: float | None = None,
    most: float | None = None,
    note: str = "",
    unit: str = "x",
) -> Measurement:
    """A row with the median of the rounds; without any, the note says why."""
    asked = "" if most is None else f"at most {most:g}{unit}"
    asked = asked if least is None else f"at least {least:g}{unit}"
    if not values:
        return Measurement(what, asked, note=note)
    value = statistics.median(values)
    reached = (least is None or value >= least) and (most is None or value <= most)
    return Measurement(what, asked, value, min(values), max(values), reached if asked else None)


def layer(seconds: str) -> InterleavedBenchmark:
    """The dropout layer alone, forward and backward."""

    def rows(found: Results) -> list[Measurement]:
        ours = found["flaxdrop"]
        return [
            compared(
                "dropout forward + backward: speed against flax.linen",
                ours,
                found["flax"],
                least=8,
            ),
            compared("the same: time against a plain product", ours, found["product"], most=2),
        ]

    contestants = [
        Contestant(name, ("benchmarks.throughput.layer", "--kind", name, "--seconds", seconds))
        for name in ("flaxdrop", "flax", "product")
    ]
    return InterleavedBenchmark("layer", contestants, rows)


def slots(workload: str, common: Sequence[str]) -> InterleavedBenchmark:
    """What dropout costs in a step: none, P6, and the eight positions of the table's program."""

    def rows(found: Results) -> list[Measurement]:
        none, p6, every = (found[name] for name in ("none", "p6", "all"))
        memory = Measurement(
            f"{workload} step: temporary memory with P6 against none", "at most 1.01x"
        )
        if "temporary_bytes" in none.about and "temporary_bytes" in p6.about:
            value = p6.about["temporary_bytes"] / none.about["temporary_bytes"]
            memory = dataclasses.replace(memory, value=value, reached=value <= 1.01)
        return [
            compared(f"{workload} step: time with P6 against none", p6, none, most=1.03),
            memory,
            compared(f"{workload} step: all slots live against P6 alone", every, p6, most=1.10),
        ]

    contestants = [
        ours(name, workload, [*common, "--slots", name, "--devices", "1"])
        for name in ("none", "p6", "all")
    ]
    return InterleavedBenchmark(f"slots of {workload}", contestants, rows)


def baselines(
    workload: str,
    common: Sequence[str],
    cores: Sequence[int],
    *,
    gpu: bool,
    compiled: bool,
    fixed: bool = False,
) -> InterleavedBenchmark:
    """The whole table's program on all devices, against what else one could have written.

    Args:
      workload: what is trained.
      common: arguments that all take.
      cores: of this CPU.
      gpu: PyTorch has it for itself; on a CPU it is tried with one process and with one a core.
      compiled: also with torch.compile.
      fixed: all train on one batch, without a data pipeline.
    """
    label = f"{workload} on one batch" if fixed else workload
    if fixed:
        common = (*common, "--fixed_batch")
    torch = ("benchmarks.throughput.baselines.torch_training", "--workload", workload, *common)
    contestants = [
        ours("flaxdrop", workload, [*common, "--slots", "all"]),
        Contestant(
            "Flax", ("benchmarks.throughput.baselines.plain_flax", "--workload", workload, *common)
        ),
    ]
    for mode in ("eager", "compile") if compiled else ("eager",):
        command = torch if mode == "eager" else (*torch, "--compile")
        contestants.append(Contestant(f"PyTorch {mode}", command))
        if not gpu:
            each = (*command, "--threads", "1")
            contestants.append(Contestant(f"PyTorch {mode}, one a core", each, tuple(cores)))

    def rows(found: Results) -> list[Measurement]:
        mine = found["flaxdrop"]
        asked = {2: 1.6, 4: 2.5}.get(len(cores)) if not gpu else None
        made = [compared(f"{label}, images/s against plain Flax", mine, found["Flax"], least=asked)]
        by_mode = {"eager": 3.0, "compile": 1.5}
        if gpu:
            made += [
                compared(f"{label}, images/s against PyTorch {mode}", mine, theirs, least=least)
                for mode, least in by_mode.items()
                if (theirs := found.get(f"PyTorch {mode}"))
            ]
            return made if workload != "preresnet110" or fixed else [*made, _hours(mine)]
        torches = {name: result for name, result in found.items() if name.startswith("PyTorch")}
        able = {name: result for name, result in torches.items() if result.speeds}
        best = max(able or torches, key=lambda name: able[name].speed if able else 0)
        return [
            *made,
            compared(f"{label}, images/s against {best}", mine, torches[best], least=1.0),
        ]

    return InterleavedBenchmark(f"baselines on {label}", contestants, rows)


def _hours(result: Result) -> Measurement:
    what = "the whole CIFAR-100 table (27 cells, 164 epochs), hours, extrapolated"
    hours = [_IMAGES_OF_TABLE / speed / 3600 for speed in result.speeds]
    return _measured(what, hours, most=1, note=result.failure, unit="")


def devices(workload: str, common: Sequence[str], cores: Sequence[int]) -> InterleavedBenchmark:
    """All devices against one of them; on a CPU against one core alone."""
    alone = ours("one device", workload, [*common, "--devices", "1"])
    contestants = [
        ours("all devices", workload, common),
        dataclasses.replace(alone, cores=tuple(cores[:1]) or None),
    ]

    def rows(found: Results) -> list[Measurement]:
        there = found["all devices"].about.get("devices", 0)
        what = f"{workload}: {there} devices against one"
        least = 3.5 if there == 4 else None
        return [compared(what, found["all devices"], found["one device"], least=least)]

    return InterleavedBenchmark(f"devices on {workload}", contestants, rows)


def bounds(workload: str, precision: str, common: Sequence[str]) -> InterleavedBenchmark:
    """A step, against the least time that this machine's products and bytes allow."""

    def rows(found: Results) -> list[Measurement]:
        mine, products, moved = (found[name] for name in ("flaxdrop", "products", "bytes"))
        what = f"{workload}: share of the roofline"
        if not (mine.speeds and products.speeds and moved.speeds):
            failures = [result.failure for result in found.values() if result.failure]
            return [Measurement(what, "", note=failures[0])]
        needed = roofline.bytes_per_image(WORKLOADS[workload], precision)
        shares = [
            speed * roofline.seconds_per_image(mine.about["flops_per_image"], needed, *peaks)
            for speed, *peaks in zip(mine.speeds, products.speeds, moved.speeds, strict=True)
        ]
        return [_measured(what, shares)]

    peaks = [
        Contestant(bound, ("benchmarks.throughput.roofline", "--kind", bound, *common))
        for bound in ("products", "bytes")
    ]
    return InterleavedBenchmark(
        f"roofline of {workload}",
        [ours("flaxdrop", workload, [*common, "--slots", "p6"]), *peaks],
        rows,
    )


def ours(name: str, workload: str, arguments: Sequence[str]) -> Contestant:
    """The training programs of flaxdrop as a contestant."""
    return Contestant(name, ("benchmarks.throughput.ours", "--workload", workload, *arguments))
