import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flaxdrop.training import steps
from flaxdrop.training.recipe import Recipe
from flaxdrop.training.task import METRICS, Task

pytestmark = pytest.mark.optimised


@pytest.fixture(scope="module")
def train(task, images):
    """(count, cell, state) -> state, compiled."""
    return jax.jit(lambda count, cell, state: steps.train_steps(task, count, images, cell, state))


@pytest.fixture(scope="module")
def evaluate(task, images):
    return jax.jit(lambda state: steps.eval_step(task, images, state))


@pytest.fixture(scope="module")
def start(task, images):
    return jax.jit(lambda cell: steps.initial_state(task, images, cell))


@pytest.fixture(scope="module")
def rows_of_epoch(task, images, make_cell, start):
    """(cell, epoch) -> which examples its steps see, told by images that show their number."""
    numbers = jnp.arange(task.examples, dtype=jnp.uint8)[:, None, None, None]
    numbered = images.replace(
        x_train=jnp.broadcast_to(numbers, images.x_train.shape),
        mean=jnp.zeros(1),
        std=jnp.full(1, 1 / 255),
    )
    plain = dataclasses.replace(task, recipe=dataclasses.replace(task.recipe, crop=0, flip=False))

    def note(of_task, data, of_cell, state, _):
        x, y = steps.training_batch(of_task, data, of_cell, state.step)
        pixels, labels = state.curve
        seen = (pixels.at[state.step % 4].set(x[:, 0, 0, 0]), labels.at[state.step % 4].set(y))
        return state.replace(step=state.step + 1, curve=seen)

    @jax.jit
    def seen_by(cell, epoch):
        nothing = (jnp.zeros((4, 16)), jnp.zeros((4, 16), jnp.int32))
        state = start(cell).replace(step=jnp.int32(4 * epoch), curve=nothing)
        return steps.train_steps(plain, 4, numbered, cell, state).curve

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(steps, "train_step", note)
        compiled = seen_by.lower(make_cell(), jnp.int32(0)).compile()

    def rows_of(cell, epoch):
        pixels, labels = compiled(cell, jnp.int32(epoch))
        rows = np.rint(np.ravel(pixels)).astype(int)
        np.testing.assert_array_equal(np.ravel(labels), images.y_train[rows])
        return rows.tolist()

    return rows_of


def test_an_epoch_sees_each_example_at_most_once(rows_of_epoch, make_cell):
    epochs = [rows_of_epoch(make_cell(), epoch) for epoch in range(2)]
    for rows in epochs:
        assert len(rows) == len(set(rows)) == 4 * 16
        assert set(rows) <= set(range(70))
    assert epochs[0] != epochs[1]
    assert set(epochs[0]) != set(epochs[1])  # others are left over


def test_variants_of_a_seed_share_weights_and_data(
    task, images, make_cell, start, rows_of_epoch, bits_of
):
    none, dropped, other = make_cell(), make_cell(rate=0.5), make_cell(seed=1)
    assert bits_of(start(none)) == bits_of(start(dropped)) != bits_of(start(other))
    rows = [rows_of_epoch(cell, 0) for cell in (none, dropped, other)]
    assert rows[0] == rows[1] != rows[2]

    def batch(cell):
        return bits_of(steps.training_batch(task, images, cell, jnp.int32(3)))

    assert batch(none) == batch(dropped) != batch(other)


def test_an_example_is_augmented_anew_in_every_step(task, images, make_cell, monkeypatch):
    monkeypatch.setattr(steps.order, "batch_indices", lambda *about: jnp.arange(about[3]))
    augmented, again = (
        steps.training_batch(task, images, make_cell(), jnp.int32(step))
        for step in (0, task.steps_per_epoch)
    )
    np.testing.assert_array_equal(augmented[1], again[1])
    assert not np.array_equal(augmented[0], again[0])


def test_a_step_is_a_pure_function(train, start, make_cell, bits_of):
    cell = make_cell(rate=0.5)
    state = start(cell)
    before = bits_of(state)
    once, again = train(1, cell, state), train(1, cell, state)
    assert bits_of(once) == bits_of(again) != before
    assert bits_of(state) == before


def test_rate_and_seed_reach_the_step(train, start, make_cell, bits_of):
    cells = [make_cell(), make_cell(rate=0.5), make_cell(seed=1)]
    assert len({bits_of(train(1, cell, start(cells[0])).params) for cell in cells}) == 3


@pytest.mark.parametrize("counts", [(1, 1, 1, 1), (1, 3), (3, 1), (2, 0, 2)])
def test_steps_split_in_any_way_are_the_same_bits(train, start, make_cell, bits_of, counts):
    cell = make_cell(rate=0.5)
    state = start(cell)
    for count in counts:
        state = train(count, cell, state)
    assert bits_of(state) == bits_of(train(4, cell, start(cell)))
    assert state.step == 4


def test_training_metrics_are_means_over_the_epoch(task, train, evaluate, start, make_cell):
    cell = make_cell(rate=0.5)
    state = whole = start(cell)
    losses, correct = [], 0
    for _ in range(task.steps_per_epoch):
        after = train(1, cell, state)
        losses.append(float(after.loss_sum - state.loss_sum) / 16)
        correct += int(after.correct - state.correct)
        state = after
    row = evaluate(train(4, cell, whole)).curve[0]
    assert row[METRICS.index("train_loss")] == pytest.approx(np.mean(losses), rel=1e-5)
    assert row[METRICS.index("train_accuracy")] == pytest.approx(correct / 64)


def softmax(logits):
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def plain_evaluation(logits, y):
    """Accuracy, NLL and ECE as their definitions say, in f64."""
    p = softmax(logits.astype(np.float64))
    nll = -np.log(p[np.arange(len(y)), y]).mean()
    hit, confidence, ece = p.argmax(axis=1) == y, p.max(axis=1), 0.0
    for low in range(15):
        inside = (confidence > low / 15) & (confidence <= (low + 1) / 15)
        if inside.any():
            ece += inside.mean() * abs(hit[inside].mean() - confidence[inside].mean())
    return hit.mean(), nll, ece


@pytest.mark.parametrize("batch", [1, 7, 59, 60, 61, 500])
def test_evaluation_is_that_of_numpy(monkeypatch, task, images, train, start, make_cell, batch):
    monkeypatch.setattr(steps, "_EVALUATION_BATCH", batch)
    cell = make_cell(rate=0.2)
    state = train(4, cell, start(cell))
    after = jax.jit(functools.partial(steps.eval_step, task, images))(state)
    row = np.asarray(after.curve[0])
    x = (np.asarray(images.x_test, np.float32) / 255 - images.mean) / images.std
    logits = task.model.apply({"params": state.params, "batch_stats": state.batch_stats}, x)
    accuracy, nll, ece = plain_evaluation(np.asarray(logits), np.asarray(images.y_test))
    assert 0 < accuracy < 1
    assert row[METRICS.index("test_accuracy")] == pytest.approx(accuracy)
    assert row[METRICS.index("test_nll")] == pytest.approx(nll, rel=1e-5)
    assert row[METRICS.index("test_ece")] == pytest.approx(ece, rel=1e-4)
    right = np.unpackbits(np.asarray(after.right[-1]), count=len(logits))
    np.testing.assert_array_equal(right, np.argmax(logits, axis=1) == images.y_test)


def test_the_last_five_epochs_are_kept_where_the_learning_rate_stays(task, images, make_cell):
    recipe = Recipe(epochs=7, batch=16, schedule="constant")
    long = dataclasses.replace(task, recipe=recipe)
    evaluate = jax.jit(functools.partial(steps.eval_step, long, images))
    state = steps.initial_state(long, images, make_cell())
    after = []
    for epoch in range(1, 8):
        said = jnp.zeros(10).at[epoch].set(100.0)  # every image is said to be of one class
        params = {**state.params, "Dense_1": {**state.params["Dense_1"], "bias": said}}
        state = evaluate(state.replace(step=jnp.int32(4 * epoch), params=params))
        after.append(np.packbits(images.y_test == epoch))
    np.testing.assert_array_equal(state.right, after[-5:])
    annealed = dataclasses.replace(recipe, schedule="cosine")
    assert (recipe.judged_epochs, annealed.judged_epochs) == (5, 1)


def test_evaluation_closes_the_epoch_and_changes_nothing_else(
    train, evaluate, start, make_cell, bits_of
):
    cell = make_cell()
    state = train(4, cell, start(cell))
    after = evaluate(state)
    kept = ("step", "params", "batch_stats", "opt_state")
    for name in kept:
        assert bits_of(getattr(after, name)) == bits_of(getattr(state, name))
    assert (after.loss_sum, after.correct) == (0, 0)
    assert np.isfinite(after.curve[0]).all()
    assert np.isnan(after.curve[1:]).all()


def test_digits_are_learnt(network, images, make_cell):
    task = Task(network, Recipe(epochs=36, batch=10, learning_rate=0.02), examples=70)

    @jax.jit
    def epoch(cell, state):
        state = steps.train_steps(task, task.steps_per_epoch, images, cell, state)
        return steps.eval_step(task, images, state)

    cell = make_cell()
    state = steps.initial_state(task, images, cell)
    for _ in range(task.recipe.epochs):
        state = epoch(cell, state)
    curve = {name: np.asarray(state.curve[:, i]) for i, name in enumerate(METRICS)}
    assert (np.diff(curve["train_loss"][:5]) < 0).all()
    assert curve["train_loss"][-1] < 0.2
    assert curve["test_accuracy"][-1] > 0.6
