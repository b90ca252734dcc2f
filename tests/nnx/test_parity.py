"""The same network in Linen and in NNX, with the same weights and masks, gives the same answers."""

import jax
import numpy as np
import pytest

from flaxdrop import Placement, analysis
from flaxdrop.nnx import (
    advise,
    mc_predict,
    rank_slots,
    recalibrate,
    variance_shift,
    with_slots,
)

PLACEMENTS = ["p4=0.3", "p6=0.3", "p4=0.2,p6=0.5:sample"]


def same_shift(linen, other):
    assert [norm.norm for norm in other.norms] == [norm.norm for norm in linen.norms]
    assert other.dropout_layers == linen.dropout_layers
    for mine, theirs in zip(other.norms, linen.norms, strict=True):
        np.testing.assert_allclose(mine.ratio, theirs.ratio, rtol=1e-6)
        np.testing.assert_allclose(mine.mean_shift, theirs.mean_shift, atol=1e-6)
        assert mine.error == pytest.approx(theirs.error, abs=1e-6)
    assert other.mean_abs_log_ratio == pytest.approx(linen.mean_abs_log_ratio, abs=1e-6)


@pytest.mark.parametrize("text", PLACEMENTS)
def test_layers_draw_the_masks_of_linen(pair, text):
    placement, key = Placement.parse(text), jax.random.key(7)
    pair.nnx.train()
    expected, updated = pair.linen.apply(
        pair.variables,
        pair.x,
        train=True,
        placement=placement,
        rngs={"dropout": key},
        mutable=["batch_stats"],
    )
    actual = with_slots(pair.nnx, pair.x)(pair.x, placement=placement, key=key)
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-5)
    norm = updated["batch_stats"]["norm"]
    np.testing.assert_allclose(pair.nnx.norm.mean[...], norm["mean"], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(pair.nnx.norm.var[...], norm["var"], rtol=1e-5)


@pytest.mark.parametrize("text", PLACEMENTS)
def test_shifts_are_those_of_linen(pair, text):
    placement = Placement.parse(text)
    linen = analysis.variance_shift(pair.linen, pair.variables, pair.x, placement, masks=3)
    same_shift(linen, variance_shift(pair.nnx, pair.x, placement, masks=3))


def test_advice_is_that_of_linen(unrolled):
    class Declared(type(unrolled.linen)):
        @property
        def slots(self):
            return {"p4": 2, "p6": 2}

    placement = Placement.parse("p4=0.3,p6=0.1")
    linen = analysis.advise(Declared(), unrolled.variables, unrolled.x, placement)
    other = advise(unrolled.nnx, unrolled.x, placement)
    assert [str(advice) for advice in other] == [str(advice) for advice in linen]
    assert [advice.move_to for advice in other] == ["p6", None]


def test_recalibration_is_that_of_linen(pair):
    batches = [pair.x[:32], pair.x[32:]]
    linen = analysis.recalibrate(pair.linen, pair.variables, batches)["batch_stats"]
    params = jax.tree.map(np.asarray, pair.nnx.head.kernel[...])
    recalibrate(pair.nnx, batches)
    block = "blocks" if "blocks" in linen else "block_1"
    for own, theirs in (
        (pair.nnx.norm, linen["norm"]),
        (getattr(pair.nnx, block).norm2, linen[block]["norm2"]),
    ):
        np.testing.assert_allclose(own.mean[...], theirs["mean"], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(own.var[...], theirs["var"], rtol=1e-5)
    np.testing.assert_array_equal(pair.nnx.head.kernel[...], params)


def test_predictions_are_those_of_linen(pair):
    placement, key = Placement.parse("p6=0.5"), jax.random.key(3)
    linen = analysis.mc_predict(pair.linen, pair.variables, pair.x, placement, key=key, samples=5)
    other = mc_predict(pair.nnx, pair.x, placement, key=key, samples=5)
    for mine, theirs in zip(other, linen, strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-5)


def test_rankings_are_those_of_linen(pair):
    linen = analysis.rank_slots(pair.linen, pair.variables, pair.x, rate=0.3)
    other = rank_slots(pair.nnx, pair.x, rate=0.3)
    slots = with_slots(pair.nnx, pair.x).slots
    shared = [ranked.slot for ranked in linen.slots if ranked.slot in slots]
    assert len(shared) > 8
    for slot in shared:
        assert other[slot].places == linen[slot].places
        assert other[slot].size == pytest.approx(linen[slot].size, abs=1e-6)
