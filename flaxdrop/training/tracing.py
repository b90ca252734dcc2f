"""The programs of a task, traced: to be compiled for devices that are here, or for others.

With n devices, n cells or a multiple train at a time, each whole on one: no collective runs. Only a
cell that has several devices splits its batch over them.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import jaxpr_as_fun
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from flaxdrop.training import steps
from flaxdrop.training.task import Cell, Images, State, Task

_AXIS, _BATCH = "cells", "batch"


def stack(trees: Sequence[Any]) -> Any:
    """Stacks trees into one whose leaves have a leading axis over `trees`."""
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)


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


def _traced_before(function: Callable[..., Any], *example: Any) -> Callable[..., Any]:
    """The function, traced outside of a mesh: what was traced there before is not once more."""
    shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), example)
    jaxpr, result = jax.make_jaxpr(function, return_shape=True)(*shapes)
    flat, structure = jaxpr_as_fun(jaxpr), jax.tree.structure(result)
    return lambda *arguments: jax.tree.unflatten(structure, flat(*jax.tree.leaves(arguments)))


@dataclasses.dataclass(frozen=True)
class Traced:
    """The programs of a task, to be lowered and compiled.

    Attributes:
      start: (data, cells) -> states.
      train: (count, data, cells, states) -> states.
      evaluate: traces (data, states) -> states.
      states: shapes of what `start` gives, with their leading axis over cells.
      one_each: where an array with a leading axis over cells lies.
      cells_in_parallel: the length of that axis.
    """

    start: jax.stages.Traced
    train: jax.stages.Traced
    evaluate: Callable[[], jax.stages.Traced]
    states: Any
    one_each: NamedSharding
    cells_in_parallel: int


def trace(
    task: Task, images: Images, example: Cell, mesh: Mesh, cells_per_device: int = 1
) -> Traced:
    """Traces the programs of a task, without running anything.

    Args:
      task: what is trained.
      images: the data set, or its shapes.
      example: any cell of the task.
      mesh: of `make_mesh`; its devices need not be here.
      cells_per_device: how many train on each at a time.
    """
    own = _Common.of(task, images, example, mesh, cells_per_device)
    train = own.over(
        lambda count, data, cell, state: steps.train_steps(
            task, count, data, cell, state, own.spread
        ),
        2,
        (3,),
    )
    evaluate = own.over(lambda data, state: steps.eval_step(task, data, state, own.spread), 1, (1,))
    return Traced(
        start=own.start,
        train=train.trace(jnp.int32(0), own.data, own.cells, own.states),
        evaluate=lambda: evaluate.trace(own.data, own.states),
        states=own.states,
        one_each=own.one_each,
        cells_in_parallel=own.cells_in_parallel,
    )


@dataclasses.dataclass(frozen=True)
class TracedStreamed:
    """The programs of a task whose images come batch by batch.

    Attributes:
      start: (data, cells) -> states.
      train: (data, cells, states, x, y) -> (states, their steps).
      evaluate: traces (states) -> sums; (data, start, x, y, real, states, sums) -> sums; (states,
        sums) -> states.
      states: shapes of what `start` gives, with their leading axis over cells.
      one_each: where an array with a leading axis over cells lies.
      cells_in_parallel: the length of that axis.
    """

    start: jax.stages.Traced
    train: jax.stages.Traced
    evaluate: Callable[[], tuple[jax.stages.Traced, ...]]
    states: Any
    one_each: NamedSharding
    cells_in_parallel: int


def trace_streamed(
    task: Task, images: Images, example: Cell, mesh: Mesh, cells_per_device: int = 1
) -> TracedStreamed:
    """Traces the programs of a task, one step of training or evaluation each.

    Args:
      task: what is trained.
      images: the data set, with one training image that has their shape, and all test labels.
      example: any cell of the task.
      mesh: of `make_mesh`.
      cells_per_device: how many train on each at a time.
    """
    own = _Common.of(task, images, example, mesh, cells_per_device)
    image, examples = images.x_train.shape[1:], len(images.y_test)
    batches, batch = steps.evaluation_batches(examples)

    def step(data: Images, cell: Cell, state: State, x: jax.Array, y: jax.Array) -> Any:
        x = own.spread(steps.augmented(task, data, cell, state.step, x))
        state = steps.update(task, cell, x, own.spread(y), state)
        return state, state.step

    def add(
        data: Images,
        start: jax.Array,
        x: jax.Array,
        y: jax.Array,
        real: jax.Array,
        state: State,
        sums: steps.Sums,
    ) -> steps.Sums:
        variables = {"params": state.params, "batch_stats": state.batch_stats}
        return steps.add_batch(task.model, data, variables, start, own.spread(x), y, real, sums)

    def close(state: State, sums: steps.Sums) -> State:
        return steps.close_epoch(task, state, steps.mean_of(sums, examples))

    def traced_evaluation() -> tuple[jax.stages.Traced, ...]:
        begin = own.over(lambda _: steps.no_sums(batches * batch), 0).trace(own.states)
        sums = _shapes(begin.out_info, own.one_each)
        test = jax.ShapeDtypeStruct
        arrays = (
            test((), jnp.int32, sharding=own.shared),
            test((batch, *image), jnp.uint8, sharding=own.shared),
            test((batch,), jnp.int32, sharding=own.shared),
            test((batch,), jnp.bool_, sharding=own.shared),
        )
        return (
            begin,
            own.over(add, 5, (6,)).trace(own.data, *arrays, own.states, sums),
            own.over(close, 0, (0,)).trace(own.states, sums),
        )

    each = (own.cells_in_parallel, task.recipe.batch)
    x = jax.ShapeDtypeStruct((*each, *image), jnp.uint8, sharding=own.one_each)
    y = jax.ShapeDtypeStruct(each, jnp.int32, sharding=own.one_each)
    return TracedStreamed(
        start=own.start,
        train=own.over(step, 1, (2,)).trace(own.data, own.cells, own.states, x, y),
        evaluate=traced_evaluation,
        states=own.states,
        one_each=own.one_each,
        cells_in_parallel=own.cells_in_parallel,
    )


@dataclasses.dataclass(frozen=True)
class _Common:
    """What the programs of a task have in common."""

    data: Images
    cells: Cell
    start: jax.stages.Traced
    states: State
    cells_in_parallel: int
    spread: steps.Spread
    over: Callable[..., Any]
    one_each: NamedSharding
    shared: NamedSharding

    @classmethod
    def of(
        cls, task: Task, images: Images, example: Cell, mesh: Mesh, cells_per_device: int
    ) -> "_Common":
        devices_per_cell = mesh.shape.get(_BATCH, 1)
        cells_in_parallel = mesh.size // devices_per_cell * cells_per_device
        one_each = NamedSharding(mesh, PartitionSpec(_AXIS))
        shared = NamedSharding(mesh, PartitionSpec())
        over = functools.partial(over_cells, mesh, cells_per_device)

        data = _shapes(images, shared)
        cells = _shapes(jax.eval_shape(stack, [example] * cells_in_parallel), one_each)
        initial_state = functools.partial(steps.initial_state, task)
        start = over(_traced_before(initial_state, data, one_of(cells)), 1).trace(data, cells)
        return cls(
            data=data,
            cells=cells,
            start=start,
            states=_shapes(start.out_info, one_each),
            cells_in_parallel=cells_in_parallel,
            spread=_over_batch if devices_per_cell > 1 else steps.whole,
            over=over,
            one_each=one_each,
            shared=shared,
        )


def one_of(stacked: Any) -> Any:
    """The shapes of one of the trees of `stack`."""
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), stacked)


def _shapes(tree: Any, sharding: NamedSharding) -> Any:
    return jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding), tree
    )
