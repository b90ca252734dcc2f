"""Cells across devices: with n devices, n cells or a multiple train at a time, each whole on one.

No collective runs: a cell's batch norm sees all of its batch, and a cell's result does not depend
on its neighbours. CPU cores count as devices. A network that is too large for one device may have
several: its batch is split over them, and batch norms and gradients are those of the whole batch.
"""

import dataclasses
import functools
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from flaxdrop.data.augment import channel_statistics
from flaxdrop.data.dataset import Dataset
from flaxdrop.training.environment import compiler_options
from flaxdrop.training.task import Cell, Images, State, Task
from flaxdrop.training.tracing import make_mesh, on_every_device, one_of, stack, trace


def choose_devices(count: int) -> list[jax.Device]:
    """Chooses the devices to train on.

    Args:
      count: how many; 0: all there are.

    Raises:
      ValueError: more than there are.
    """
    there = jax.local_devices()
    if not 0 <= count <= len(there):
        kind = there[0].device_kind
        raise ValueError(
            f"devices: must be at most {len(there)} ({kind}), or 0 for all, got {count}"
        )
    return there[: count or None]


def to_images(dataset: Dataset, mean: Sequence[float], std: Sequence[float]) -> Images:
    """Converts a data set to the arrays that the steps take.

    Args:
      dataset: images as uint8.
      mean: mean of each channel, in [0, 1]; empty: that of the training images.
      std: standard deviation of each channel; empty likewise.

    Raises:
      ValueError: not one mean for every channel.
    """
    channels = dataset.image_shape[-1]
    if not mean:
        mean, std = (tuple(values.tolist()) for values in channel_statistics(dataset.x_train))
    if len(mean) != channels:
        raise ValueError(f"mean: must have one value for each of {channels} channels, got {mean}")
    return Images(
        x_train=dataset.x_train,
        y_train=dataset.y_train,
        x_test=dataset.x_test,
        y_test=dataset.y_test,
        mean=np.asarray(mean, np.float32),
        std=np.asarray(std, np.float32),
    )


def unstack(tree: Any, index: int) -> Any:
    """Takes one of the trees of `stack`."""
    return jax.tree.map(lambda leaf: leaf[index], tree)


@dataclasses.dataclass(frozen=True)
class Programs:
    """The compiled programs of a task: they serve all its cells.

    Attributes:
      start: cells -> states before the first step.
      train: (count, cells, states) -> states after `count` steps within the epoch.
      compile_evaluation: begins to compile `evaluate`, which is done when the future is; again, it
        gives the same future.
      evaluate: states -> states with the epoch's row of the curve.
      cells_in_parallel: how many cells they take at a time.
      like: shapes and dtypes of one cell's state.
      place: puts a list of `cells_in_parallel` trees on the devices.
      temporary_bytes: what a device needs for training, besides data and states.
      compile_seconds: what compiling `train` and `start` took.
      training_text: the compiled program of `train` (HLO), for profiles.
      waited_seconds: that the devices had nothing to do so far, because images were being read.
    """

    start: Callable[[Cell], State]
    train: Callable[[int, Cell, State], State]
    compile_evaluation: Callable[[], Future[Any]]
    evaluate: Callable[[State], State]
    cells_in_parallel: int
    like: State
    place: Callable[[Sequence[Any]], Any]
    temporary_bytes: int
    compile_seconds: float
    training_text: Callable[[], str]
    waited_seconds: Callable[[], float] = lambda: 0.0


def compile_programs(
    task: Task,
    images: Images,
    example: Cell,
    devices: Sequence[jax.Device],
    cells_per_device: int = 1,
    devices_per_cell: int = 1,
) -> Programs:
    """Compiles what a task needs, once.

    Args:
      task: what is trained.
      images: the data set; it is copied to every device.
      example: any cell of the task; all must have its structure and shapes.
      devices: the cells train on them.
      cells_per_device: how many train on each at a time, as one vectorised program. It pays for
        heads; on a CPU, convolutions with weights of their own for every cell are slow.
      devices_per_cell: how many devices the batch of a cell is split over; it divides the number
        of devices and the batch.
    """
    began = time.perf_counter()
    mesh = make_mesh(devices, devices_per_cell)
    data = on_every_device(mesh, images.as_rows())
    traced = trace(task, data, example, mesh, cells_per_device)
    place = jax.jit(stack, out_shardings=traced.one_each)
    # It runs once: on a CPU, optimising the code of its random numbers costs more than half of all;
    # not at all, and it takes ten times as long to draw them.
    hasty = {"xla_backend_optimization_level": 1} if devices[0].platform == "cpu" else None
    wide = compiler_options(devices[0])
    # One compiles, largely on one core, while the next is traced; the longest first.
    compilers = ThreadPoolExecutor()
    training = compilers.submit(traced.train.lower().compile, wide)
    started = compilers.submit(traced.start.lower().compile, hasty)
    train: Any = training.result()
    start: Any = started.result()

    @functools.cache
    def evaluating() -> Future[Callable[..., State]]:
        return compilers.submit(lambda: traced.evaluate().lower().compile(wide))

    return Programs(
        start=lambda cells: start(data, cells),
        train=lambda count, cells, states: train(jnp.int32(count), data, cells, states),
        compile_evaluation=evaluating,
        evaluate=lambda states: evaluating().result()(data, states),
        temporary_bytes=train.memory_analysis().temp_size_in_bytes,
        cells_in_parallel=traced.cells_in_parallel,
        like=one_of(traced.states),
        place=place,
        compile_seconds=time.perf_counter() - began,
        training_text=train.as_text,
    )
