import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flaxdrop.data.order import batch_indices, epoch_order


@pytest.mark.parametrize("examples", [1, 2, 900])
def test_every_epoch_has_every_example_once(examples):
    for epoch in range(3):
        order = epoch_order(jax.random.key(5), epoch, examples)
        assert order.dtype == jnp.int32
        assert sorted(order.tolist()) == list(range(examples))


def test_the_order_depends_on_key_and_epoch_alone():
    def order(seed, epoch):
        return epoch_order(jax.random.key(seed), epoch, 500).tolist()

    assert order(0, 3) == order(0, 3)
    orders = [order(seed, epoch) for seed in range(3) for epoch in range(3)]
    assert len({tuple(o) for o in orders}) == 9


def test_every_example_comes_anywhere():
    # Position of example 0 over 4000 epochs, 10 places: chi-square with 9 degrees of freedom, whose
    # 1 - 1e-6 quantile is 45.
    positions = jax.vmap(lambda e: jnp.argmin(epoch_order(jax.random.key(1), e, 10)))(
        jnp.arange(4000)
    )
    counts = np.bincount(positions, minlength=10)
    assert ((counts - 400) ** 2 / 400).sum() < 45


def test_traced_epoch_and_step_give_the_same():
    key = jax.random.key(2)

    @jax.jit
    def batch(key, epoch, step):
        return batch_indices(epoch_order(key, epoch, 50), step, 8)

    for epoch, step in [(0, 0), (3, 5), (7, 2)]:
        eager = batch_indices(epoch_order(key, epoch, 50), step, 8)
        np.testing.assert_array_equal(batch(key, epoch, step), eager)
    assert batch._cache_size() == 1


def test_batches_follow_one_another():
    order = epoch_order(jax.random.key(3), 0, 35)
    batches = [batch_indices(order, step, 8) for step in range(4)]
    np.testing.assert_array_equal(jnp.concatenate(batches), order[:32])
