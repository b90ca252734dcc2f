"""The closed forms equal the sum over all masks of a window, and what the masks give."""

import dataclasses
import itertools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from flaxdrop.ops.pooling import POOLINGS
from flaxdrop.theory.pooling import ORDERS, Moments, closed_form, measured, pair

X = jax.nn.relu(jnp.asarray(np.random.RandomState(3).randn(4, 9, 8, 8), jnp.float32))
each_pair = pytest.mark.parametrize(
    ("pooling", "order", "mask"),
    list(itertools.product(POOLINGS, ORDERS, ("element", "channel"))),
)
REDUCE = {"max": np.max, "average": np.mean}


def over_all_masks(window, rate, pooling, order, mask):
    """Zeros, mean and variance of one window, by enumeration."""
    together = mask == "channel" or order == "after"
    masks = [(b,) * 4 for b in (0, 1)] if together else list(itertools.product((0, 1), repeat=4))
    kept = np.array(masks)
    chances = np.prod(np.where(kept[:, :1] if together else kept, 1 - rate, rate), axis=1)
    out = REDUCE[pooling](kept * window / (1 - rate), axis=1)
    mean = chances @ out
    return chances @ (out == 0), mean, chances @ (out - mean) ** 2


@each_pair
@pytest.mark.parametrize("rate", [0.0, 0.25, 0.9])
def test_closed_forms_are_the_sums_over_all_masks(pooling, order, mask, rate):
    random = np.random.RandomState(0)
    windows = random.rand(20, 4) * (random.rand(20, 4) < 0.7)  # some units are 0
    windows[:4] = [[0, 0, 0, 0], [1, 1, 1, 1], [0, 2, 0, 0], [3, 1, 1, 0]]
    exact = [over_all_masks(window, rate, pooling, order, mask) for window in windows]
    x = jnp.asarray(windows.reshape(20, 2, 2, 1), jnp.float32)
    found = closed_form(x, rate, order=order, pooling=pooling, mask=mask)
    np.testing.assert_allclose(dataclasses.astuple(found), np.mean(exact, axis=0), atol=1e-5)


@each_pair
def test_masks_give_the_closed_forms(pooling, order, mask):
    """24 comparisons; with a right closed form one in 10^5 such runs fails."""
    kind = {"order": order, "pooling": pooling, "mask": mask}
    repeats = 200
    found, errors = measured(jax.random.key(0), X, 0.25, repeats=repeats, **kind)
    exact = closed_form(X, 0.25, **kind)
    bound = stats.t.isf(1e-5 / 24 / 2, repeats - 1)
    for field in dataclasses.fields(Moments):
        value, error, form = (getattr(values, field.name) for values in (found, errors, exact))
        assert abs(value - form) < bound * error
        assert 0 < error < 0.05 * form


def test_what_the_order_costs():
    """Before: fewer zeros and less noise, but a maximum that inference does not see."""
    rate = 0.25
    forms = {
        (pooling, order): closed_form(X, rate, order=order, pooling=pooling)
        for pooling in POOLINGS
        for order in ORDERS
    }
    for pooling in POOLINGS:
        before, after = (forms[pooling, order] for order in ORDERS)
        assert before.zeros < after.zeros
        assert before.variance < after.variance
    average = [forms["average", order].mean for order in ORDERS]
    assert average[0] == average[1]
    assert forms["max", "before"].mean > 1.05 * forms["max", "after"].mean


@pytest.mark.parametrize("rate", [0.1, 0.25, 0.5, 0.75])
@pytest.mark.parametrize("pooling", POOLINGS)
def test_with_a_channel_mask_both_orders_are_one_function(pooling, rate):
    before, after = (
        jax.jit(pair, static_argnames=("order", "pooling", "mask"))(
            jax.random.key(1), X, rate, order=order, pooling=pooling, mask="channel"
        )
        for order in ORDERS
    )
    if pooling == "max" or rate in (0.5, 0.75):  # 1 / (1 - rate) is 2, or 4: nothing is rounded
        chex.assert_trees_all_equal(before, after)
    else:
        assert np.any(before != after)
        chex.assert_trees_all_close(before, after, rtol=1e-6)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("order", "around", r"^order: must be one of before, after, got 'around'$"),
        ("pooling", "min", r"^pooling: unknown 'min', choose one of max, average$"),
        ("mask", "sample", r"^mask: must be element or channel, got 'sample'$"),
        ("rate", 1.0, r"^rate: must be in \[0, 1\), got 1.0$"),
        ("rate", float("nan"), r"^rate: must be in \[0, 1\), got nan$"),
        ("x", -X, r"^x: must have no unit below 0, got -"),
    ],
)
def test_what_the_closed_forms_are_not_for_is_refused(field, value, message):
    right = {"x": X, "rate": 0.5, "order": "before", "pooling": "max", "mask": "element"}
    with pytest.raises(ValueError, match=message):
        closed_form(**{**right, field: value})


def test_a_standard_error_needs_two_repeats():
    with pytest.raises(ValueError, match=r"^repeats: must be at least 2, got 1$"):
        measured(jax.random.key(0), X, 0.5, order="after", pooling="max", repeats=1)
    with pytest.raises(ValueError, match=r"^order: must be one of"):
        measured(jax.random.key(0), X, 0.5, order="around", pooling="max", repeats=2)
