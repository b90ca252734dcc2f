"""Trains as flaxdrop's studies do: the programs of the position table, a cell on every device."""

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp

from benchmarks.harness.arguments import Flag
from benchmarks.harness.precision import activation_dtype, set_matmul_precision
from benchmarks.throughput import workload
from benchmarks.throughput.contest import Prepared, in_rounds, take_part
from benchmarks.throughput.workload import Workload
from flaxdrop.data import augment
from flaxdrop.data.dataset import Dataset
from flaxdrop.models import VGG, PreResNet
from flaxdrop.models.cost import flops_per_image
from flaxdrop.placement import Placement
from flaxdrop.training import steps
from flaxdrop.training.cells import (
    Programs,
    choose_devices,
    compile_programs,
    to_images,
)
from flaxdrop.training.environment import configure_jax
from flaxdrop.training.recipe import Recipe
from flaxdrop.training.steps import Cell, Task
from flaxdrop.training.tracing import make_mesh, over_cells

POSITIONS = tuple(f"p{i}" for i in range(8))
SLOTS = ("none", "p6", "all")


def make_task(task: Workload, precision: str) -> Task:
    """The network and recipe of a workload."""
    dtype = activation_dtype(precision)
    if task.depth is None:
        model: Any = VGG(workload.CLASSES, dtype=dtype)
        recipe = Recipe(
            epochs=1000,
            batch=task.batch,
            optimizer="adam",
            learning_rate=1e-3,
            schedule="constant",
            weight_decay=0.0,
        )
    else:
        model = PreResNet(task.depth, workload.CLASSES, dtype=dtype)
        recipe = Recipe(epochs=1000, batch=task.batch, crop=workload.CROP, flip=True)
    return Task(model, recipe, workload.EXAMPLES)


def make_placement(model: Any, slots: str, rate: float) -> Placement:
    """The placement whose slots the program has.

    "all": as in the position table, where eight positions are there and one is above 0. The
    VGG-like network has dropout after all its layers, or none.
    """
    if slots == "none":
        rates = {}
    elif isinstance(model, VGG):
        rates = dict.fromkeys(model.slots, rate)
    else:
        rates = {"p6": rate} if slots == "p6" else dict.fromkeys(POSITIONS, 0.0) | {"p6": rate}
    return Placement(rates).broadcast(model.slots)


def noise_images(count: int = workload.EXAMPLES, side: int = 32) -> steps.Images:
    """The data set that the steps take: `count` images of `side` pixels."""
    x, y = workload.examples(count, side)
    names = tuple(map(str, range(workload.CLASSES)))
    dataset = Dataset("noise", x, y, x[:500], y[:500], names)
    return to_images(dataset, workload.MEAN, workload.STD)


def make_steps(
    programs: Programs,
    cells: Sequence[Cell],
    train: Callable[[int, Cell, steps.State], steps.State],
) -> Callable[[int], None]:
    """A function that trains the cells for so many steps, and waits for them.

    Args:
      programs: of their task.
      cells: `programs.cells_in_parallel` of them.
      train: `programs.train`, or what takes its place.
    """
    placed = programs.place(cells)
    states = programs.start(placed)

    def take(count: int) -> None:
        nonlocal states
        states = train(count, placed, states)
        jax.block_until_ready(states.step)

    return take


def prepare(options: SimpleNamespace) -> Prepared:
    """Compiles the programs; the round takes some steps of every cell."""
    configure_jax()
    set_matmul_precision(options.precision)
    devices = choose_devices(options.devices)
    task = make_task(workload.WORKLOADS[options.workload], options.precision)
    images = noise_images()
    placement = make_placement(task.model, options.slots, options.rate)
    cells_in_parallel = len(devices) * options.cells_per_device
    own = [Cell(jax.random.key(i), placement) for i in range(cells_in_parallel)]
    programs = compile_programs(task, images, own[0], devices, options.cells_per_device)
    train = programs.train
    if options.fixed_batch:
        train = _on_one_batch(task, images, devices, options.cells_per_device)
    take, batch = make_steps(programs, own, train), task.recipe.batch * cells_in_parallel
    work, first_seconds = in_rounds(take, options.seconds, unit=batch)
    stats = devices[0].memory_stats() or {}
    return work, {
        "compile_seconds": programs.compile_seconds,
        "first_step_seconds": first_seconds,
        "temporary_bytes": programs.temporary_bytes,
        "device_bytes": stats.get("peak_bytes_in_use"),
        "flops_per_image": 3 * flops_per_image(task.model, (32, 32, 3)),
        "devices": len(devices),
        "device_kind": devices[0].device_kind,
        "platform": devices[0].platform,
    }


def _on_one_batch(
    task: Task, images: steps.Images, devices: Sequence[jax.Device], cells_per_device: int
) -> Callable[[int, Cell, steps.State], steps.State]:
    """`Programs.train` without its data pipeline: every step sees the same batch."""

    def several(
        count: jax.Array, x: jax.Array, y: jax.Array, cell: Cell, state: steps.State
    ) -> steps.State:
        return jax.lax.fori_loop(
            0, count, lambda _, state: steps.update(task, cell, x, y, state), state
        )

    batch = task.recipe.batch
    x = augment.normalise(images.x_train[:batch], images.mean, images.std)
    y = images.y_train[:batch]
    train = over_cells(make_mesh(devices), cells_per_device, several, 3, (4,))
    return lambda count, cells, states: train(jnp.int32(count), x, y, cells, states)


FLAGS = (
    *workload.FLAGS,
    Flag("slots", "p6", "the dropout layers of the program", SLOTS),
    Flag("devices", 0, "how many devices train; 0: all there are"),
    Flag("cells_per_device", 1, "how many cells train on a device, vectorised"),
)


if __name__ == "__main__":
    take_part(FLAGS, prepare)
