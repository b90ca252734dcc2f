"""The pure function. Its masks' means are z-tested below 5, 60 times: false alarm 3e-5 in total."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage

from flaxdrop import dropout, hashing
from flaxdrop.rate import check_rate

pytestmark = pytest.mark.optimised

MASKS = ("element", "channel", "sample", "block3")
SHAPE = (4, 8, 8, 6)
KEY = jax.random.key(3)
# Eager, every operation would be compiled on its own.
drop = jax.jit(dropout, static_argnames="mask")
EAGER_OR_JIT = pytest.mark.parametrize("transform", [lambda f: f, jax.jit], ids=["eager", "jit"])


def normal(shape=SHAPE, dtype=jnp.float32, seed=0):
    return jnp.asarray(np.random.RandomState(seed).randn(*shape), dtype)


def same_bits(a, b):
    assert a.dtype == b.dtype
    assert np.asarray(a).tobytes() == np.asarray(b).tobytes()


# The rate.


@pytest.mark.parametrize("mask", MASKS)
def test_one_trace_serves_every_rate_and_key(mask):
    chex.clear_trace_counter()
    traced = jax.jit(chex.assert_max_traces(lambda k, x, rate: dropout(k, x, rate, mask), n=1))
    x = normal()
    for seed, rate in enumerate([0.0, 0.1, 0.5, 0.99, 1.0]):
        key = jax.random.key(seed)
        same_bits(traced(key, x, rate), drop(key, x, rate, mask))


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, jnp.float16])
def test_rate_zero_is_exactly_the_identity_for_every_key(mask, dtype):
    x = (
        normal(dtype=dtype)
        .at[0, 0, 0, :4]
        .set(jnp.array([jnp.inf, jnp.nan, -0.0, -jnp.inf], dtype))
    )
    for seed in (0, 1):
        same_bits(drop(jax.random.key(seed), x, 0.0, mask), x)
        same_bits(dropout(jax.random.key(seed), x, 0, mask), x)


def test_the_number_zero_leaves_no_operation():
    assert not jax.make_jaxpr(lambda key, x: dropout(key, x, 0.0))(KEY, normal()).eqns


@pytest.mark.parametrize("mask", MASKS)
def test_rate_one_gives_zeros_and_finite_gradients(mask):
    @jax.jit
    def value_and_gradient(x, rate):
        return jax.value_and_grad(lambda x: jnp.sum((y := dropout(KEY, x, rate, mask)) * y + y))(x)

    value, gradient = value_and_gradient(normal(), 1.0)
    assert value == 0
    chex.assert_trees_all_equal(gradient, jnp.zeros(SHAPE))
    chex.assert_trees_all_equal(drop(KEY, normal(), 1, mask), jnp.zeros(SHAPE))


@pytest.mark.parametrize("rate", [-0.1, 1.5, float("nan"), np.float32(2), jnp.float32(jnp.nan)])
@EAGER_OR_JIT
def test_a_known_rate_that_is_no_probability_is_refused(rate, transform):
    with pytest.raises(ValueError, match=r"^rate: must be in \[0, 1\], got [-\w.]+(\n|$)"):
        transform(lambda x: dropout(KEY, x, rate))(normal())


@pytest.mark.parametrize("mask", MASKS)
def test_a_traced_rate_outside_of_0_and_1_counts_as_the_nearer_end_and_nan_gives_nan(mask):
    @jax.jit
    def value_and_gradient(rate):
        y, pullback = jax.vjp(lambda x: dropout(KEY, x, rate, mask), normal())
        return y, pullback(normal(seed=1))[0]

    factors = {-0.5: 1, -np.inf: 1, 0.0: 1, 1.0: 0, 1.5: 0, np.inf: 0, np.nan: np.nan}
    for rate, factor in factors.items():
        for found, whole in zip(value_and_gradient(rate), (normal(), normal(seed=1)), strict=True):
            np.testing.assert_array_equal(found, factor * whole)


def test_a_refused_rate_among_many_is_the_one_named():
    with pytest.raises(ValueError, match=r"^rate: must be in \[0, 1\], got 1.25$"):
        check_rate(np.array([[0.0, 0.5], [1.0, 1.25]]))
    check_rate(np.array([[0.0, 0.5], [1.0, 0.25]]))


def test_a_known_rate_may_stand_in_a_jitted_function():
    jitted = jax.jit(lambda x: dropout(KEY, x, 0.25))
    same_bits(jitted(normal()), dropout(KEY, normal(), 0.25))


def test_more_than_one_rate_is_refused():
    with pytest.raises(ValueError, match=r"^rate: expected one rate, .*\(3,\)$"):
        dropout(KEY, normal(), jnp.full(3, 0.5))


def test_no_gradient_flows_into_the_rate():
    slope = jax.jit(jax.grad(lambda rate: jnp.sum(dropout(KEY, normal(), rate) ** 2)))
    assert slope(0.5) == 0


# The values.


@pytest.mark.parametrize("mask", ["element", "channel", "sample"])
@pytest.mark.parametrize("rate", [0.01, 0.1, 0.5, 0.75, 0.9])
def test_mean_and_keep_rate_are_as_asked(mask, rate):
    shape = {"element": (64, 8, 8, 8), "channel": (128, 2, 2, 128), "sample": (8192, 1, 2)}[mask]
    groups = {"element": 64 * 512, "channel": 128 * 128, "sample": 8192}[mask]
    for seed in range(4):
        y = np.asarray(drop(jax.random.key(seed), jnp.ones(shape), rate, mask), np.float64)
        np.testing.assert_allclose(np.unique(y), [0, 1 / (1 - rate)], rtol=1e-6)
        assert abs(y.mean() - 1) / np.sqrt(rate / (1 - rate) / groups) < 5


@pytest.mark.parametrize("rate", [0.1, 0.4, 0.9])
def test_the_factors_of_a_block_mask_sum_to_the_number_of_units(rate):
    y = np.asarray(drop(KEY, jnp.ones((4, 16, 16, 8)), rate, "block3"), np.float64)
    assert len(np.unique(y)) == 2
    np.testing.assert_allclose(y.mean(), 1, rtol=1e-6)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, jnp.float16])
@pytest.mark.parametrize("mask", MASKS)
def test_dtype_and_mask_are_those_of_f32_in_every_precision(mask, dtype):
    x = normal(dtype=dtype)
    y = drop(KEY, x, 0.3, mask)
    gradient = jax.eval_shape(jax.grad(lambda x: jnp.sum(dropout(KEY, x, 0.3, mask))), x)
    assert y.dtype == gradient.dtype == dtype
    same_bits(y, drop(KEY, x.astype(jnp.float32), 0.3, mask).astype(dtype))


@pytest.mark.parametrize("dtype", [jnp.int32, jnp.bool_, jnp.complex64])
def test_units_that_are_not_real_numbers_are_refused(dtype):
    with pytest.raises(ValueError, match=r"^x: dropout needs floating-point units, got \w+$"):
        dropout(KEY, jnp.ones(4, dtype), 0.5)


@pytest.mark.parametrize("mask", MASKS)
def test_gradient_is_mask_times_scale(mask):
    x, g = normal(), normal(seed=1)
    y, pullback = jax.vjp(lambda x: drop(KEY, x, 0.4, mask), x)
    factors = drop(KEY, jnp.ones(SHAPE), 0.4, mask)
    assert 0 < np.mean(factors == 0) < 1
    same_bits(y, jnp.where(factors == 0, 0, x * factors))
    same_bits(pullback(g)[0], jnp.where(factors == 0, 0, g * factors))


@pytest.mark.parametrize("mask", MASKS)
def test_second_derivatives_use_the_same_mask(mask):
    def slope(x):
        return jnp.sum(jax.grad(lambda x: jnp.sum(drop(KEY, x, 0.4, mask) ** 3))(x))

    factors = drop(KEY, jnp.ones(SHAPE), 0.4, mask)
    second = jax.jit(jax.grad(slope))(normal())
    chex.assert_trees_all_close(second, 6 * normal() * factors**3, rtol=1e-5)


@pytest.mark.parametrize("mask", MASKS)
def test_the_mask_is_not_stored_for_the_backward_pass(mask):
    residuals = jax.make_jaxpr(lambda x: jax.vjp(lambda x: dropout(KEY, x, 0.4, mask), x)[1])
    assert max((aval.size for aval in residuals(normal()).out_avals), default=0) <= 2


# The key.


@pytest.mark.parametrize("mask", MASKS)
def test_bits_do_not_depend_on_jit_or_on_the_kind_of_key(mask):
    expected = drop(jax.random.key(7), normal(), 0.5, mask)
    for key in (jax.random.key(7), jax.random.PRNGKey(7)):
        same_bits(dropout(key, normal(), 0.5, mask), expected)
        same_bits(drop(key, normal(), 0.5, mask), expected)
    assert np.any(drop(jax.random.key(8), normal(), 0.5, mask) != expected)


def test_a_mask_is_what_the_words_say():
    words = np.asarray(hashing.bits(hashing.key_to_words(KEY), SHAPE), np.float64)
    chex.assert_trees_all_equal(
        np.asarray(drop(KEY, jnp.ones(SHAPE), 0.375) == 0), words / 2**32 < 0.375
    )


@pytest.mark.parametrize("mask", MASKS)
def test_vmap_over_keys_and_rates_equals_a_loop(mask):
    keys, rates = jax.random.split(KEY, 3), jnp.array([0.0, 0.5, 1.0])
    mapped = jax.vmap(lambda key, rate: drop(key, normal(), rate, mask))(keys, rates)
    for i in range(3):
        chex.assert_trees_all_close(mapped[i], drop(keys[i], normal(), rates[i], mask), rtol=1e-6)
    over_keys = jax.vmap(lambda key: drop(key, normal(), 0.5, mask))(keys)
    chex.assert_trees_all_close(over_keys[1], mapped[1], rtol=1e-6)
    assert np.any(over_keys[0] != over_keys[2])


# The masks.


@pytest.mark.parametrize(
    ("mask", "shape"),
    [("element", ()), ("element", (5,)), ("sample", (5,)), ("channel", (5, 3))]
    + [(mask, (5, 4, 3)) for mask in ("element", "channel", "sample")]
    + [(mask, (2, 3, 4, 5, 3)) for mask in ("element", "channel", "sample")],
)
def test_ranks_that_fit(mask, shape):
    y = drop(KEY, jnp.ones(shape), 0.5, mask)
    chex.assert_shape(y, shape)
    assert set(np.unique(y)) <= {0.0, 2.0}


@pytest.mark.parametrize(
    ("mask", "shape"),
    [("sample", ()), ("channel", (5,)), ("block", (5, 4, 3)), ("block3", (2, 3, 4, 5, 3))],
)
def test_ranks_that_do_not_fit_are_refused(mask, shape):
    with pytest.raises(ValueError, match=f"^mask: '{mask}' does not fit an array of shape .*$"):
        dropout(KEY, jnp.ones(shape), 0.5, mask)


def test_an_unknown_mask_is_refused_even_at_rate_zero():
    with pytest.raises(ValueError, match=r"^mask: unknown 'pixel'"):
        dropout(KEY, normal(), 0, "pixel")


def test_channel_drops_whole_maps_and_sample_whole_examples():
    ones = jnp.ones((16, 5, 4, 12))
    maps = np.asarray(drop(KEY, ones, 0.5, "channel"))
    assert (maps == maps[:, :1, :1, :]).all()
    assert len(np.unique(maps[:, 0, 0, :].sum(axis=1))) > 1
    examples = np.asarray(drop(KEY, ones, 0.5, "sample"))
    assert (examples == examples[:, :1, :1, :1]).all()
    assert len(np.unique(examples)) == 2


@pytest.mark.parametrize(("mask", "rows", "columns"), [("block3", 3, 3), ("block", 7, 6)])
def test_block_drops_unions_of_squares_of_single_maps(mask, rows, columns):
    dropped = np.asarray(drop(KEY, jnp.ones((8, 12, 6, 8)), 0.2, mask) == 0)
    assert 0 < dropped.mean() < 1
    square = np.ones((1, rows, columns, 1))  # no wider than the map
    np.testing.assert_array_equal(scipy.ndimage.binary_opening(dropped, square), dropped)
    # Maps of their own: with none, one or more squares.
    assert len(np.unique(dropped.reshape(8, -1, 8).sum(axis=1))) >= 3


@pytest.mark.parametrize("rate", [0.05, 0.1, 0.2])
def test_block_drops_about_the_fraction_asked(rate):
    dropped = np.asarray(drop(KEY, jnp.ones((64, 16, 16, 16)), rate, "block3") == 0)
    corners, size = 14 * 14, 3 * 3
    gamma = rate * 16 * 16 / corners / size
    along = np.convolve(np.ones(14), np.ones(3))  # the squares that hold a pixel, in one direction
    expected = np.mean(1 - (1 - gamma) ** np.outer(along, along))
    assert rate - 0.6 * rate**2 < expected < rate  # the squares overlap: a little less than asked
    # No more than if all squares lay apart; 5 of them are passed once in 1.7 million.
    deviation = np.sqrt(64 * 16 * corners * gamma) * size / dropped.size
    assert abs(dropped.mean() - expected) < 5 * deviation


def test_blocks_of_one_pixel_are_an_element_mask():
    same_bits(drop(KEY, normal(), 0.4, "block1") == 0, drop(KEY, normal(), 0.4) == 0)
