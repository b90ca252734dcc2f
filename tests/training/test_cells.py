import functools

import chex
import jax
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

import flaxdrop
from flaxdrop.models.preresnet import PreResNet
from flaxdrop.placement import Placement
from flaxdrop.training import cells, steps
from flaxdrop.training.recipe import Recipe
from flaxdrop.training.task import Cell, Task
from flaxdrop.training.tracing import make_mesh, stack

pytestmark = pytest.mark.optimised


def test_all_devices_or_as_many_as_asked_for():
    there = jax.local_devices()
    assert cells.choose_devices(0) == there
    for count in range(1, len(there) + 1):
        assert cells.choose_devices(count) == there[:count]


@pytest.mark.parametrize("count", [-1, 1000])
def test_more_devices_than_there_are(count):
    there = len(jax.local_devices())
    with pytest.raises(ValueError, match=rf"^devices: must be at most {there} .*, got {count}$"):
        cells.choose_devices(count)


def test_channels_are_normalised_by_the_training_images_unless_told(dataset):
    images = cells.to_images(dataset, (), ())
    x = dataset.x_train / 255
    np.testing.assert_allclose(images.mean, x.mean(axis=(0, 1, 2)), rtol=1e-5)
    np.testing.assert_allclose(images.std, x.std(axis=(0, 1, 2)), rtol=1e-5)
    told = cells.to_images(dataset, (0.5,), (0.25,))
    assert (told.mean.tolist(), told.std.tolist()) == ([0.5], [0.25])
    assert told.x_train is dataset.x_train


def test_means_of_other_channels(dataset):
    with pytest.raises(ValueError, match=r"^mean: must have one value for each of 1 channels, got"):
        cells.to_images(dataset, (0.5, 0.5, 0.5), (0.2, 0.2, 0.2))


def test_stack_and_unstack():
    trees = [{"a": np.arange(3) + i, "key": jax.random.key(i)} for i in range(2)]
    for i, tree in enumerate(trees):
        found = cells.unstack(stack(trees), i)
        np.testing.assert_array_equal(found["a"], tree["a"])
        assert found["key"] == tree["key"]


@pytest.fixture(scope="module")
def network_task():
    """With convolutions, whose sums threads could split in one way or another."""
    model = PreResNet(depth=6, num_classes=10, widths=(4,))
    return Task(model, Recipe(epochs=1, batch=16, crop=1), examples=70)


@pytest.fixture(scope="module")
def network_cell(network_task):
    def make(p4=0.0, p6=0.0, seed=0):
        placement = Placement({"p4": p4, "p6": p6}).broadcast(network_task.model.slots)
        return Cell(key=jax.random.key(seed), placement=placement)

    return make


@pytest.fixture(scope="module")
def network_programs(network_task, network_cell, images):
    """Compiled once for (devices, cells on each)."""

    @functools.cache
    def programs(devices, each=1, split=1):
        there = jax.devices("cpu")[:devices]
        return cells.compile_programs(network_task, images, network_cell(), there, each, split)

    return programs


@pytest.fixture(scope="module")
def train(network_programs, bits_of):
    """The digests of cells that train together, one on each device."""

    def train_together(*together):
        program = network_programs(len(together))
        placed = program.place(together)
        states = program.train(4, placed, program.start(placed))
        states = jax.device_get(program.evaluate(states))
        return [bits_of(cells.unstack(states, lane)) for lane in range(len(together))]

    return train_together


def test_a_cell_depends_neither_on_neighbours_nor_on_its_lane(train, network_cell):
    cell, second, third = network_cell(p6=0.5), network_cell(p4=0.5), network_cell(seed=1)
    with_second, with_third = train(cell, second), train(third, cell)
    assert with_second[0] == with_third[1]
    assert len({*with_second, *with_third}) == 3
    assert train(cell, cell) == [with_second[0]] * 2


def test_one_device_and_two_give_the_same_bits(train, network_cell):
    cell, second = network_cell(p6=0.5), network_cell(p4=0.5, seed=1)
    assert train(cell, second) == [*train(cell), *train(second)]


def test_a_batch_over_two_devices_is_the_batch_of_one(network_programs, network_cell):
    """Losses and batch statistics are those of the whole batch; a cell may go on either way."""
    found = {}
    for split in (1, 2):
        program = network_programs(split, 1, split)
        placed = program.place([network_cell(p6=0.5)])
        found[split] = program.train(2, placed, program.start(placed))
    assert "all-reduce" in network_programs(2, 1, 2).training_text()
    on = {}
    for split, began in ((1, 2), (2, 1)):
        program = network_programs(split, 1, split)
        state = cells.unstack(jax.device_get(found[began]), 0)
        placed = program.place([network_cell(p6=0.5)])
        state = program.evaluate(program.train(2, placed, program.place([state])))
        on[split] = cells.unstack(jax.device_get(state), 0)
    np.testing.assert_allclose(on[1].curve, on[2].curve, rtol=1e-5)
    chex.assert_trees_all_close(on[1].batch_stats, on[2].batch_stats, rtol=1e-4, atol=1e-6)


def test_the_mask_of_a_split_batch_is_that_of_the_batch():
    mesh = make_mesh(jax.devices("cpu")[:2], 2)
    x = jax.random.normal(jax.random.key(0), (6, 4, 4, 3))
    drop = jax.jit(lambda x: flaxdrop.dropout(jax.random.key(1), x, 0.5))
    split = jax.device_put(x, NamedSharding(mesh, PartitionSpec("batch")))
    assert len(drop(split).sharding.device_set) == 2
    np.testing.assert_array_equal(drop(split), drop(x))


def test_cells_that_share_a_device_are_the_same_but_for_rounding(network_programs, network_cell):
    together = [network_cell(p6=0.5), network_cell(p4=0.5), network_cell(seed=1)]
    found = {}
    for count in (1, 3):
        program = network_programs(1, count)
        assert program.cells_in_parallel == count
        groups = [together[i : i + count] for i in range(0, 3, count)]
        states = []
        for group in groups:
            placed = program.place(group)
            state = program.evaluate(program.train(2, placed, program.start(placed)))
            states += [cells.unstack(jax.device_get(state), lane) for lane in range(count)]
        found[count] = stack([(state.params, state.curve) for state in states])
    jax.tree.map(
        lambda one, three: np.testing.assert_allclose(one, three, rtol=1e-3, atol=1e-4),
        found[1],
        found[3],
    )


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("part", ["params", "batch_stats", "opt_state", "loss_sum"])
def test_the_compiled_evaluation_notes_one_number_that_is_not_finite(
    task, programs_of, make_cell, part, value
):
    programs = programs_of(task, 1)
    started = jax.device_get(programs.start(programs.place([make_cell()])))
    healthy = cells.unstack(started, 0).replace(step=np.int32(4))
    leaves, structure = jax.tree.flatten(getattr(healthy, part))
    last = max(i for i, leaf in enumerate(leaves) if leaf.dtype == np.float32)
    leaves[last] = np.array(leaves[last])
    leaves[last].flat[-1] = value
    broken = healthy.replace(**{part: jax.tree.unflatten(structure, leaves)})
    assert programs.evaluate(programs.place([healthy])).diverged.tolist() == [0]
    found = programs.evaluate(programs.place([broken]))
    assert found.diverged.tolist() == [1]
    later = programs.evaluate(found.replace(step=found.step + 4))
    assert later.diverged.tolist() == [1]


def test_programs_are_the_steps(task, images, programs_of, make_cell):
    programs, cell = programs_of(task, 1), make_cell(rate=0.5)
    placed = programs.place([cell])
    states = programs.start(placed)
    assert jax.tree.map(lambda leaf: (leaf.shape[1:], leaf.dtype), states) == jax.tree.map(
        lambda leaf: (leaf.shape, leaf.dtype), programs.like
    )
    states = programs.evaluate(programs.train(4, placed, states))

    @jax.jit
    def plain(cell):
        state = steps.initial_state(task, images, cell)
        return steps.eval_step(task, images, steps.train_steps(task, 4, images, cell, state))

    jax.tree.map(
        lambda found, expected: np.testing.assert_allclose(
            found[0], expected, rtol=1e-4, atol=1e-5
        ),
        states,
        plain(cell),
    )


def test_the_evaluation_is_compiled_once_and_not_before_it_is_wanted(
    task, images, make_cell, monkeypatch
):
    def fails(*_):
        raise RuntimeError("traced")

    monkeypatch.setattr(steps, "eval_step", fails)
    programs = cells.compile_programs(task, images, make_cell(), jax.devices("cpu")[:1])
    compiled = programs.compile_evaluation()
    assert programs.compile_evaluation() is compiled
    assert str(compiled.exception()) == "traced"
    with pytest.raises(RuntimeError, match="traced"):  # it is not swallowed by its thread
        programs.evaluate(programs.start(programs.place([make_cell()])))
