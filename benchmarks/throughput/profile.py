"""Profiles a training step: which operations take its time?

python -m benchmarks.throughput.profile --workload preresnet110
"""

import dataclasses
import glob
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from types import SimpleNamespace

import jax
from jax.profiler import ProfileData

from benchmarks.harness.arguments import Flag, tool
from benchmarks.harness.precision import set_matmul_precision
from benchmarks.throughput import ours, workload
from benchmarks.throughput.account import Event, account, paths
from flaxdrop.placement import Placement
from flaxdrop.table import Table
from flaxdrop.training.cells import choose_devices, compile_programs
from flaxdrop.training.environment import configure_jax
from flaxdrop.training.steps import Cell, Images, Task


def trace(run: Callable[[], None], device: int) -> list[Event]:
    """The instructions that ran on the device, by its number among those of this process."""
    options = jax.profiler.ProfileOptions()
    options.python_tracer_level = 0
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder, profiler_options=options):
            run()
        (file,) = glob.glob(f"{folder}/**/*.xplane.pb", recursive=True)
        data = ProfileData.from_file(file)
    events = []
    for plane in data.planes:
        for line in plane.lines:
            for event in line.events:
                stats = dict(event.stats)
                if "hlo_op" in stats and stats.get("device_ordinal", device) == device:
                    end = event.start_ns + event.duration_ns
                    events.append(Event(str(stats["hlo_op"]), event.start_ns, end))
    return events


def profile(
    task: Task, images: Images, placement: Placement, devices: Sequence[jax.Device], steps: int
) -> Table:
    """The account of a step on the first device, while a cell trains on every one.

    Args:
      task: what is trained.
      images: the data set.
      placement: the rate of every slot.
      devices: that train.
      steps: that are traced, of one epoch.
    """
    cells = [Cell(jax.random.key(i), placement) for i in range(len(devices))]
    programs = compile_programs(task, images, cells[0], devices)
    take = ours.make_steps(programs, cells, programs.train)
    take(1)
    began = time.perf_counter()
    take(steps)
    seconds = (time.perf_counter() - began) / steps
    events = trace(lambda: take(steps), devices[0].local_hardware_id or 0)
    table = account(events, paths(programs.training_text()), steps)
    note = (
        f"Of {len(devices)} devices ({devices[0].device_kind}), the first; {steps} steps traced;"
        f" {1e3 * seconds:.2f} ms a step without the trace."
    )
    return dataclasses.replace(table, notes=(note, *table.notes))


FLAGS = (
    Flag("workload", "preresnet20", "the network that is trained", tuple(workload.WORKLOADS)),
    Flag("slots", "p6", "the dropout layers of the program", ours.SLOTS),
    Flag("devices", 1, "how many devices train; 0: all there are"),
    Flag("steps", 5, "how many steps are traced"),
)


@tool(__doc__, FLAGS)
def main(options: SimpleNamespace) -> None:
    """Prints the account."""
    if options.steps < 1:
        raise ValueError(f"steps: must be at least 1, got {options.steps}")
    configure_jax()
    # A program that was kept has the names it was first compiled with.
    jax.config.update("jax_enable_compilation_cache", False)
    set_matmul_precision("float32")
    devices = choose_devices(options.devices)
    task = ours.make_task(workload.WORKLOADS[options.workload], "float32")
    placement = ours.make_placement(task.model, options.slots, workload.RATE)
    table = profile(task, ours.noise_images(), placement, devices, options.steps)
    print(table.markdown(), end="")


if __name__ == "__main__":
    sys.exit(main())
