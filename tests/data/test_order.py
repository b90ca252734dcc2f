"""The keyed bijection against a true random permutation; chance alone fails a test once in 1e6."""

import functools
import math

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from flaxdrop import hashing
from flaxdrop.data.order import HostOrder, batch_indices, permuted

pytestmark = pytest.mark.optimised

ALARM = 1e-6


@functools.partial(jax.jit, static_argnums=(0, 1))
def permutations(count, size):
    """Of neighbouring epochs of one key, as they are used: `[count, size]`."""
    words = hashing.key_to_words(jax.random.key(7))
    each = jax.vmap(lambda epoch: hashing.fold_in(words, epoch))(jnp.arange(count))
    return jax.vmap(lambda words: permuted(words, jnp.arange(size), size))(each)


def p_of_counts(counts, expected):
    statistic = ((counts - expected) ** 2 / expected).sum()
    return stats.chi2.sf(statistic, counts.size - 1)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 31, 32, 33, 300, 1024, 10_000])
def test_every_epoch_has_every_example_once(size):
    orders = permutations(3, size)
    assert orders.dtype == jnp.int32
    chex.assert_trees_all_equal(jnp.sort(orders), jnp.tile(jnp.arange(size), (3, 1)))


@pytest.mark.parametrize("size", [2, 3, 4, 5])
def test_all_permutations_of_few_are_as_likely(size):
    draws = 500 * math.factorial(size)
    codes = np.asarray(permutations(draws, size)) @ (size ** np.arange(size))
    _, counts = np.unique(codes, return_counts=True)
    assert len(counts) == math.factorial(size)
    assert p_of_counts(counts, 500) > ALARM


@pytest.mark.parametrize("size", [10, 300, 512])
def test_every_example_comes_anywhere(size):
    orders = np.asarray(permutations(4000, size))
    parts = orders * 10 // size
    expected = 4000 * np.bincount(np.arange(size) * 10 // size) / size
    tested = range(0, size, max(1, size // 30))
    p = [p_of_counts(np.bincount(parts[:, place], minlength=10), expected) for place in tested]
    assert min(p) > ALARM / len(p)


@pytest.mark.parametrize("size", [300, 512, 5000])
def test_neighbours_part(size):
    orders = np.asarray(permutations(200, size), np.float64)
    mean, variance = (size + 1) / 3, (size + 1) * (size - 2) / 18  # of |i - j|, i and j distinct
    for step in (1, 2, 16, 128):
        gaps = np.abs(orders - np.roll(orders, step, axis=1))
        z = (gaps.mean() - mean) / math.sqrt(variance / gaps.size)
        # Gaps of one permutation are a little dependent: their mean varies by less than 1.2 of it.
        assert abs(z) < 1.2 * stats.norm.isf(ALARM / 8)


def test_fixed_points_rises_and_cycles_are_those_of_chance():
    draws, size = 20_000, 50
    orders = np.asarray(permutations(draws, size))
    fixed = np.bincount((orders == np.arange(size)).sum(axis=1), minlength=8)[:8]
    expected = draws * stats.poisson.pmf(np.arange(8), 1)
    assert stats.chi2.sf(((fixed - expected) ** 2 / expected).sum(), 7) > ALARM
    # Of mean (n - 1) / 2 and variance (n + 1) / 12.
    rises = (orders[:, 1:] > orders[:, :-1]).sum(axis=1)
    z = (rises.mean() - (size - 1) / 2) / math.sqrt((size + 1) / 12 / draws)
    assert abs(z) < stats.norm.isf(ALARM / 2)
    assert rises.var() == pytest.approx((size + 1) / 12, rel=0.06)
    # The cycle of place 0 is of any length alike; were all permutations even, none would be of 50.
    at, length = orders[:, 0], np.ones(draws, int)
    for _ in range(size):
        open_ = at != 0
        length += open_
        at = np.where(open_, orders[np.arange(draws), at], 0)
    assert p_of_counts(np.bincount(length, minlength=size + 1)[1:], draws / size) > ALARM


def test_batches_of_two_epochs_share_as_many_examples_as_chance_has_them_share():
    size, batch, draws = 1000, 100, 2000
    orders = np.asarray(permutations(2 * draws, size))[:, :batch].reshape(draws, 2, batch)
    shared = np.array([len(np.intersect1d(*pair)) for pair in orders])
    law = stats.hypergeom(size, batch, batch)
    z = (shared.mean() - law.mean()) / (law.std() / math.sqrt(draws))
    assert abs(z) < stats.norm.isf(ALARM / 2)
    assert shared.var() == pytest.approx(law.var(), rel=0.16)


def test_epochs_and_keys_differ():
    orders = {
        tuple(batch_indices(jax.random.key(seed), epoch, 0, 50, 50).tolist())
        for seed in range(3)
        for epoch in range(3)
    }
    assert len(orders) == 9


def test_batches_of_an_epoch_are_parts_of_one_permutation_traced_or_not():
    @jax.jit
    @chex.assert_max_traces(1)
    def traced(key, epoch, step):
        return batch_indices(key, epoch, step, 8, 35)

    key = jax.random.key(3)
    batches = [traced(key, 2, step) for step in range(4)]
    chex.assert_trees_all_equal(jnp.concatenate(batches), batch_indices(key, 2, 0, 32, 35))


@pytest.mark.parametrize("size", [1, 2, 5, 35, 300])
def test_the_host_has_the_same_order(size):
    key, order = jax.random.key(5), HostOrder(jax.random.key(5), 3, size)
    for epoch in range(3):
        found = order.examples(epoch, np.arange(size))
        np.testing.assert_array_equal(found, batch_indices(key, epoch, 0, size, size))
