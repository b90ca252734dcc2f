"""What would it cost on a TPU? Its compiler says, on a host that has none.

python -m benchmarks.throughput.tpu --networks preresnet-20

Compiles the programs of a study, start, train and evaluate, with the compiler of the TPU (libtpu,
extra `tpu`), and prints what that took, the memory they need, their FLOPs and the compiler's own
estimate of their time. Nothing runs: it is an estimate, and no measurement. It takes minutes a
program.
"""

import dataclasses
import os
import sys
import time
from collections.abc import Iterator, Sequence
from types import SimpleNamespace
from typing import Any

import jax
import numpy as np
from jax.experimental import topologies

from benchmarks import preresnet, vgg_depth
from benchmarks.harness.arguments import Flag, UsageError, tool
from benchmarks.harness.catalog import load_settings
from benchmarks.harness.precision import PRECISIONS, set_matmul_precision
from benchmarks.harness.settings import Settings
from benchmarks.harness.study import Study
from benchmarks.harness.variants import Family, Variant, families
from benchmarks.throughput.estimated import Estimate, estimate
from flaxdrop.models import DenseNet
from flaxdrop.models.cost import flops_per_image
from flaxdrop.placement import Placement
from flaxdrop.table import EMPTY, Table
from flaxdrop.training.steps import evaluation_batches
from flaxdrop.training.task import Images, Task
from flaxdrop.training.tracing import make_mesh, trace

_TRAIN, _TEST = 50_000, 10_000  # CIFAR
_SIDE, _CLASSES = 32, 10
PARTS = ("start", "train", "evaluate")


@dataclasses.dataclass(frozen=True)
class Program:
    """What the compiler says of a program.

    Attributes:
      network: its name, as `--networks` takes it.
      part: "start", "train" or "evaluate".
      compile_seconds: of CPU time, of all threads.
      arguments: bytes that go in.
      temporary: bytes that it needs besides.
      flops: of one training step, of one evaluation, or of the start, as they are counted by us.
      estimate: what the compiler expects.
    """

    network: str
    part: str
    compile_seconds: float
    arguments: int
    temporary: int
    flops: int
    estimate: Estimate


def task_of(network: str, precision: str) -> tuple[Task, Family]:
    """A network in the form of its study for CIFAR, and the cells that its program serves.

    Args:
      network: "preresnet-DEPTH", "vgg" or "densenet-DEPTH".
      precision: as in the settings.

    Raises:
      ValueError: another name.
    """
    kind, _, depth = network.partition("-")
    study: Study[Any] = vgg_depth.STUDY if kind == "vgg" else preresnet.STUDY
    config = "configs/vgg_cifar10.py" if kind == "vgg" else "configs/cifar10.py"
    if kind not in ("preresnet", "densenet", "vgg") or depth.isdigit() == (kind == "vgg"):
        raise ValueError(
            f"networks: must be preresnet-DEPTH, densenet-DEPTH or vgg, got {network!r}"
        )
    changes = {"depth": int(depth)} if kind == "preresnet" else {}
    settings: Settings = load_settings(study, config, precision=precision, **changes)
    every = dict(study.variants(settings, _CLASSES))
    if kind == "densenet":
        model = DenseNet(int(depth), _CLASSES, stem="cifar", dtype=settings.dtype)
        places = ("conv1", "conv2", "h4")
        every = {slot: Variant(model, Placement({slot: 0.1})) for slot in places}
    family = families(every, settings.dropout_schedule)[0]
    return Task(family.model, settings, _TRAIN), family


def shapes_of_images() -> Images:
    """Those of CIFAR, as they are stored on a device."""

    def images(count: int) -> tuple[Any, Any]:
        pixels = jax.ShapeDtypeStruct((count, _SIDE * _SIDE * 3), np.uint8)
        return pixels, jax.ShapeDtypeStruct((count,), np.int32)

    channels = jax.ShapeDtypeStruct((3,), np.float32)
    shape = (_SIDE, _SIDE, 3)
    return Images(*images(_TRAIN), *images(_TEST), channels, channels, shape=shape)


def compile_parts(
    network: str, precision: str, device: Any, parts: Sequence[str]
) -> Iterator[Program]:
    """Compiles parts of a network's programs for a device that need not be here."""
    task, family = task_of(network, precision)
    cell = family.cell(next(iter(family.placements)), 0)
    traced = trace(task, shapes_of_images(), cell, make_mesh([device]))
    forward = flops_per_image(task.model, (_SIDE, _SIDE, 3))
    batches, batch = evaluation_batches(_TEST)
    flops = {
        "start": 0,
        "train": 3 * forward * task.recipe.batch,
        "evaluate": forward * batches * batch,
    }
    for part in parts:
        program = traced.evaluate() if part == "evaluate" else getattr(traced, part)
        began = time.process_time()
        compiled = program.lower().compile()
        seconds = time.process_time() - began
        memory: Any = compiled.memory_analysis()
        yield Program(
            network=network,
            part=part,
            compile_seconds=seconds,
            arguments=memory.argument_size_in_bytes,
            temporary=memory.temp_size_in_bytes,
            flops=flops[part],
            estimate=estimate(compiled.as_text() or ""),
        )


def table(programs: Sequence[Program], about: str) -> Table:
    """What the compiler says, a program a row."""
    cells = [
        (
            program.network,
            program.part,
            f"{program.compile_seconds:.0f}",
            f"{program.arguments / 1e6:.0f}",
            f"{program.temporary / 1e6:.0f}",
            f"{program.flops / 1e9:.3g}" if program.flops else EMPTY,
            f"{1e3 * program.estimate.seconds:.3g}",
        )
        for program in programs
    ]
    columns = (
        "network",
        "program",
        "compiled, CPU s",
        "arguments, MB",
        "temporary, MB",
        "GFLOP",
        "estimate, ms",
    )
    notes = (
        f"{about}. Estimated by the compiler; nothing ran.",
        "GFLOP and estimate: of one training step, of an evaluation of all test images.",
    )
    return Table(columns, tuple(cells), notes)


def topology(name: str) -> Any:
    """The devices of a TPU that need not be here.

    Raises:
      UsageError: libtpu is not installed, or it knows no such TPU.
    """
    os.environ.setdefault("TPU_SKIP_MDS_QUERY", "1")  # it would look for the machine's own TPU
    try:
        return topologies.get_topology_desc(platform="tpu", topology_name=name)
    except Exception as error:
        words = str(error).splitlines()[0]
        raise UsageError(
            f'topology: {name} cannot be had ({words}); pip install ".[tpu]"'
        ) from error


FLAGS = (
    Flag("networks", "preresnet-20", "preresnet-DEPTH, densenet-DEPTH, vgg; with commas"),
    Flag("parts", ",".join(PARTS), "the programs, with commas"),
    Flag("topology", "v5e:2x2", "of the TPU, as jax.experimental.topologies names it"),
    Flag("precision", "tensorfloat32", "of products and activations", PRECISIONS),
)


@tool(__doc__, FLAGS)
def main(options: SimpleNamespace) -> None:
    """Compiles and prints."""
    jax.config.update("jax_platforms", "cpu")
    set_matmul_precision(options.precision)
    device = topology(options.topology).devices[0]
    parts = options.parts.split(",")
    if unknown := set(parts) - set(PARTS):
        raise ValueError(f"parts: must be among {', '.join(PARTS)}, got {min(unknown)}")
    about = f"{device.device_kind}, {options.precision}, jax {jax.__version__}, one network"
    found: list[Program] = []
    for network in options.networks.split(","):
        for program in compile_parts(network, options.precision, device, parts):
            found.append(program)
            print(table([program], about).text(), flush=True)
    print(table(found, about).markdown())


if __name__ == "__main__":
    sys.exit(main())
