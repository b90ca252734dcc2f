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
from jax.extend.core import jaxpr_as_fun
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from flaxdrop.data.augment import channel_statistics
from flaxdrop.data.dataset import Dataset
from flaxdrop.training import steps
from flaxdrop.training.environment import compiler_options
from flaxdrop.training.task import Cell, Images, State, Task

_AXIS, _BATCH = "cells", "batch"


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


def stack(trees: Sequence[Any]) -> Any:
    """Stacks trees into one whose leaves have a leading axis over `trees`."""
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)


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


def make_mesh(devices: Sequence[jax.Device], devices_per_cell: int = 1) -> Mesh:
    """Makes a mesh of the devices: the cells go across one axis, a cell's batch across another.

    Args:
      devices: a multiple of `devices_per_cell`.
      devices_per_cell: the size of the second axis; 1: there is none.
    """
    auto = jax.sharding.AxisType.Auto
    if devices_per_cell == 1:
        return Mesh(np.asarray(devices), (_AXIS,), axis_types=(auto,))
    grid = np.asarray(devices).reshape(-1, devices_per_cell)
    return Mesh(grid, (_AXIS, _BATCH), axis_types=(auto, auto))


def _over_batch(x: jax.Array) -> jax.Array:
    """Splits an array along its first axis over the devices of its cell."""
    return jax.lax.with_sharding_constraint(x, PartitionSpec(_BATCH))


def on_every_device(mesh: Mesh, tree: Any) -> Any:
    """Puts a tree that all cells share on every device; CPU devices share aligned memory."""
    return jax.device_put(tree, NamedSharding(mesh, PartitionSpec()))


def over_cells(
    mesh: Mesh,
    cells_per_device: int,
    function: Callable[..., Any],
    shared: int,
    donate: tuple[int, ...] = (),
) -> Any:
    """Makes a jitted function that applies `function` to many cells at a time.

    Args:
      mesh: of the devices.
      cells_per_device: as `compile_programs` takes it.
      function: of what the cells share, then of trees of one cell; returns such a tree.
      shared: how many of its arguments the cells share.
      donate: the arguments whose memory the result may take.

    Returns:
      The jitted function, of trees with a leading axis over cells.
    """

    def of_device(*arguments: Any) -> Any:
        of_one = functools.partial(function, *arguments[:shared])
        if cells_per_device > 1:
            return jax.vmap(of_one)(*arguments[shared:])
        own = jax.tree.map(lambda leaf: leaf[0], arguments[shared:])
        return jax.tree.map(lambda leaf: leaf[None], of_one(*own))

    def of_all(*arguments: Any) -> Any:
        specs = tuple(
            PartitionSpec() if i < shared else PartitionSpec(_AXIS) for i in range(len(arguments))
        )
        mapped = jax.shard_map(
            of_device,
            mesh=mesh,
            in_specs=specs,
            out_specs=PartitionSpec(_AXIS),
            axis_names={_AXIS},  # the compiler splits along the other one
            check_vma=False,
        )
        return mapped(*arguments)

    # The compiler might split a state over the devices of its cell, too.
    whole = NamedSharding(mesh, PartitionSpec(_AXIS)) if _BATCH in mesh.shape else None
    return jax.jit(of_all, donate_argnums=donate, out_shardings=whole)


def _traced(function: Callable[..., Any], *example: Any) -> Callable[..., Any]:
    """The function, traced outside of a mesh: what was traced there before is not once more."""
    shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), example)
    jaxpr, result = jax.make_jaxpr(function, return_shape=True)(*shapes)
    flat, structure = jaxpr_as_fun(jaxpr), jax.tree.structure(result)
    return lambda *arguments: jax.tree.unflatten(structure, flat(*jax.tree.leaves(arguments)))


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
    cells_in_parallel = len(devices) // devices_per_cell * cells_per_device
    mesh = make_mesh(devices, devices_per_cell)
    spread = _over_batch if devices_per_cell > 1 else steps.whole
    one_each = NamedSharding(mesh, PartitionSpec(_AXIS))
    data = on_every_device(mesh, images)
    over = functools.partial(over_cells, mesh, cells_per_device)

    place = jax.jit(stack, out_shardings=one_each)

    def placed(shapes: Any) -> Any:
        return jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=one_each), shapes
        )

    def of_one(shapes: Any) -> Any:
        return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), shapes)

    cells = placed(jax.eval_shape(stack, [example] * cells_in_parallel))
    initial_state = _traced(functools.partial(steps.initial_state, task), data, of_one(cells))
    starting = over(initial_state, 1).trace(data, cells)
    states = placed(starting.out_info)
    train = over(
        lambda count, data, cell, state: steps.train_steps(task, count, data, cell, state, spread),
        2,
        (3,),
    )
    evaluate = over(lambda data, state: steps.eval_step(task, data, state, spread), 1, (1,))
    # It runs once: on a CPU, optimising the code of its random numbers costs more than half of all;
    # not at all, and it takes ten times as long to draw them.
    hasty = {"xla_backend_optimization_level": 1} if devices[0].platform == "cpu" else None
    wide = compiler_options(devices[0])
    # One compiles, largely on one core, while the next is traced; the longest first.
    compilers = ThreadPoolExecutor()
    training = compilers.submit(train.lower(jnp.int32(0), data, cells, states).compile, wide)
    started = compilers.submit(starting.lower().compile, hasty)
    train, start = training.result(), started.result()

    @functools.cache
    def evaluating() -> Future[Callable[..., State]]:
        return compilers.submit(lambda: evaluate.lower(data, states).compile(wide))

    return Programs(
        start=lambda cells: start(data, cells),
        train=lambda count, cells, states: train(jnp.int32(count), data, cells, states),
        compile_evaluation=evaluating,
        evaluate=lambda states: evaluating().result()(data, states),
        temporary_bytes=train.memory_analysis().temp_size_in_bytes,
        cells_in_parallel=cells_in_parallel,
        like=of_one(states),
        place=place,
        compile_seconds=time.perf_counter() - began,
        training_text=train.as_text,
    )
