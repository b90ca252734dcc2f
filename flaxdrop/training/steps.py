"""The pure functions that train and evaluate one cell.

Randomness is derived from (seed, step), never carried: a cell that resumes at step N is at step N.
Cells of the same seed share initial weights, data order, augmentation and masks.
"""

import functools
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jax import lax

from flaxdrop.data import augment, order
from flaxdrop.metrics import BINS, bin_of
from flaxdrop.schedule import rate_share
from flaxdrop.slots import check_reached, reached_slots, untraced_collection
from flaxdrop.training.task import METRICS, Cell, Images, State, Task

_EVALUATION_BATCH = 500

Spread = Callable[[jax.Array], jax.Array]  # says on which devices a batch `[N, ...]` is


def whole(x: jax.Array) -> jax.Array:
    """Leaves a batch where it is, on one device."""
    return x


# What a cell's key is folded with: raise `NUMERICS` with any change.
INIT, ORDER, AUGMENT, DROPOUT = range(4)


@functools.partial(jax.jit, static_argnums=0)  # traced once for all that ask
def initial_variables(model: nn.Module, key: jax.Array, x: jax.Array) -> Any:
    """A network's variables before its first step, for one example f32 `[1, H, W, C]`."""
    return model.init(key, x)


def initial_state(task: Task, data: Images, cell: Cell) -> State:
    """A cell's state before its first step: the same for every placement."""
    x = augment.normalise(data.train_images(slice(1)), data.mean, data.std)
    variables = initial_variables(task.model, jax.random.fold_in(cell.key, INIT), x)
    return State(
        step=jnp.int32(0),
        params=variables["params"],
        batch_stats=variables.get("batch_stats", {}),
        opt_state=task.optimizer.init(variables["params"]),
        loss_sum=jnp.float32(0),
        correct=jnp.int32(0),
        curve=jnp.full((task.recipe.epochs, len(METRICS)), jnp.nan, jnp.float32),
        right=jnp.zeros((task.recipe.judged_epochs, -(-len(data.y_test) // 8)), jnp.uint8),
        diverged=jnp.int32(0),
    )


def examples_of_step(task: Task, cell: Cell, step: jax.Array) -> jax.Array:
    """Which training examples a step sees, int32 `[batch]`."""
    epoch, step_in_epoch = step // task.steps_per_epoch, step % task.steps_per_epoch
    with jax.named_scope("order"):
        key, batch = jax.random.fold_in(cell.key, ORDER), task.recipe.batch
        rows = order.batch_indices(key, epoch, step_in_epoch, batch, task.examples)
        return rows if cell.subset is None else cell.subset[rows]


def training_batch(
    task: Task, data: Images, cell: Cell, step: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """The augmented and normalised examples of a step.

    Returns:
      x f32 `[batch, H, W, C]` and y int32 `[batch]`.
    """
    rows = examples_of_step(task, cell, step)
    return augmented(task, data, cell, step, data.train_images(rows)), data.y_train[rows]


def augmented(task: Task, data: Images, cell: Cell, step: jax.Array, x: jax.Array) -> jax.Array:
    """The examples of a step, uint8 `[batch, H, W, C]`, cropped, flipped and normalised, f32."""
    recipe = task.recipe
    key = jax.random.fold_in(jax.random.fold_in(cell.key, AUGMENT), step)
    x = augment.pad_crop(jax.random.fold_in(key, 0), x, recipe.crop)
    if recipe.flip:
        x = augment.flip(jax.random.fold_in(key, 1), x)
    return augment.normalise(x, data.mean, data.std)


def train_step(task: Task, data: Images, cell: Cell, state: State, spread: Spread = whole) -> State:
    """One step of the optimiser, on its batch of the data set; the task is static."""
    x, y = training_batch(task, data, cell, state.step)
    return update(task, cell, spread(x), spread(y), state)


def update(task: Task, cell: Cell, x: jax.Array, y: jax.Array, state: State) -> State:
    """One step of the optimiser, on examples f32 `[batch, H, W, C]` with labels int32 `[batch]`."""
    dropout_key = jax.random.fold_in(jax.random.fold_in(cell.key, DROPOUT), state.step)
    share = rate_share(cell.schedule, state.step / task.steps, task.recipe.dropout_switch)
    placement = jax.tree.map(lambda rate: rate * share, cell.placement)

    def loss_of(params: Any) -> tuple[jax.Array, tuple[jax.Array, Any]]:
        with reached_slots() as reached:
            logits, updates = task.model.apply(
                {"params": params, "batch_stats": state.batch_stats},
                x,
                train=True,
                placement=placement,
                rngs={"dropout": dropout_key},
                mutable=["batch_stats", untraced_collection()],
            )
        check_reached(task.model, placement, reached)
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, y)
        return jnp.mean(losses), (logits, updates.get("batch_stats", {}))

    (loss, (logits, batch_stats)), grads = jax.value_and_grad(loss_of, has_aux=True)(state.params)
    with jax.named_scope("optimiser"):
        changes, opt_state = task.optimizer.update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, changes)
    return state.replace(
        step=state.step + 1,
        params=params,
        batch_stats=batch_stats,
        opt_state=opt_state,
        loss_sum=state.loss_sum + loss * task.recipe.batch,
        correct=state.correct + jnp.sum(jnp.argmax(logits, axis=-1) == y, dtype=jnp.int32),
    )


def train_steps(
    task: Task, count: jax.Array, data: Images, cell: Cell, state: State, spread: Spread = whole
) -> State:
    """`count` steps (int32, may be traced), from where `state` is."""

    def step(_: int, state: State) -> State:
        return train_step(task, data, cell, state, spread)

    return lax.fori_loop(0, count, step, state)


def evaluate(
    model: nn.Module, data: Images, variables: Any, spread: Spread = whole
) -> tuple[jax.Array, ...]:
    """Evaluates on the whole test set.

    Returns:
      Accuracy in [0, 1], negative log-likelihood in nats, expected calibration error in [0, 1]
      (`flaxdrop.metrics`): f32 scalars; and which examples were right, bool `[M]`.
    """
    examples = len(data.y_test)
    batches, batch = evaluation_batches(examples)

    def add(i: jax.Array, sums: Sums) -> Sums:
        rows = i * batch + jnp.arange(batch)
        real = rows < examples
        rows = jnp.minimum(rows, examples - 1)
        x, y = spread(data.test_images(rows)), data.y_test[rows]
        return add_batch(model, data, variables, i * batch, x, y, real, sums)

    return mean_of(lax.fori_loop(0, batches, add, no_sums(batches * batch)), examples)


def evaluation_batches(examples: int) -> tuple[int, int]:
    """How many batches the test set is evaluated in, and of how many examples."""
    batches = -(-examples // _EVALUATION_BATCH)
    return batches, -(-examples // batches)


Sums = tuple[jax.Array, jax.Array, jax.Array]  # which are right, loss, gaps of calibration


def no_sums(places: int) -> Sums:
    """What `add_batch` adds to, for so many examples, those that are not real among them."""
    return jnp.zeros(places, bool), jnp.float32(0), jnp.zeros(BINS)


def add_batch(
    model: nn.Module,
    data: Images,
    variables: Any,
    start: jax.Array,
    x: jax.Array,
    y: jax.Array,
    real: jax.Array,
    sums: Sums,
) -> Sums:
    """Evaluates `n` test examples, those that are `real`, the first of which is at `start`.

    Args:
      model: the network.
      data: has the mean and standard deviation.
      variables: of the network.
      start: int32.
      x: uint8 `[n, H, W, C]`.
      y: int32 `[n]`.
      real: bool `[n]`; the others fill the batch up.
      sums: of the batches before.
    """
    right, nll, bins = sums
    logits: Any = model.apply(variables, augment.normalise(x, data.mean, data.std))
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, y)
    hit = (jnp.argmax(logits, axis=-1) == y) & real
    confidence = jnp.max(jax.nn.softmax(logits), axis=-1)
    in_bin = jax.nn.one_hot(bin_of(confidence), BINS) * real[:, None]
    gaps = jnp.sum((confidence - hit)[:, None] * in_bin, axis=0)
    return (
        lax.dynamic_update_slice_in_dim(right, hit, start, 0),
        nll + jnp.sum(jnp.where(real, losses, 0)),
        bins + gaps,
    )


def mean_of(sums: Sums, examples: int) -> tuple[jax.Array, ...]:
    """What `evaluate` returns, of all its batches."""
    right, nll, bins = sums
    accuracy = jnp.sum(right, dtype=jnp.int32) / examples
    return accuracy, nll / examples, jnp.sum(jnp.abs(bins)) / examples, right[:examples]


def all_finite(tree: Any) -> jax.Array:
    """Whether no number of a tree is NaN or infinite, bool `[]`; integers are finite.

    It looks at the bits: a compiler that reckons with numbers alone, as XLA does on a CPU where it
    fuses a maximum into a sum, cannot lose what is none.
    """

    def finite(leaf: jax.Array) -> jax.Array:
        bits = jnp.dtype(f"uint{8 * leaf.dtype.itemsize}")
        infinite = lax.bitcast_convert_type(jnp.array(jnp.inf, leaf.dtype), bits)
        # All bits of the exponent, which no finite number has.
        return jnp.all(lax.bitcast_convert_type(leaf, bits) & infinite != infinite)

    floats = [x for x in jax.tree.leaves(tree) if jnp.issubdtype(x.dtype, jnp.floating)]
    return functools.reduce(jnp.logical_and, map(finite, floats), jnp.bool_(True))


def eval_step(task: Task, data: Images, state: State, spread: Spread = whole) -> State:
    """Evaluates on the whole test set, closes the epoch in the curve, notes what diverged."""
    variables = {"params": state.params, "batch_stats": state.batch_stats}
    return close_epoch(task, state, evaluate(task.model, data, variables, spread))


def close_epoch(task: Task, state: State, evaluated: tuple[jax.Array, ...]) -> State:
    """Closes the epoch with what `evaluate` returned of the state's network."""
    variables = {"params": state.params, "batch_stats": state.batch_stats}
    seen = task.steps_per_epoch * task.recipe.batch
    *metrics, right = evaluated
    row = jnp.stack([state.loss_sum / seen, state.correct / seen, *metrics])
    epoch = state.step // task.steps_per_epoch - 1
    # Metrics alone are no proof of health: those of a network of NaN may be finite.
    healthy = all_finite((row, variables, state.opt_state))
    return state.replace(
        loss_sum=jnp.float32(0),
        correct=jnp.int32(0),
        curve=state.curve.at[epoch].set(row),
        right=jnp.concatenate([state.right[1:], jnp.packbits(right)[None]]),
        diverged=jnp.where(healthy | (state.diverged > 0), state.diverged, epoch + 1),
    )
