import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flaxdrop import Placement
from flaxdrop.describe import describe
from flaxdrop.models import Head

HEAD = Head(num_classes=3)


@pytest.fixture(scope="module")
def head():
    x = jnp.asarray(np.random.RandomState(0).randn(5, 2, 3, 8), jnp.float32)
    return HEAD.init(jax.random.key(1), x), x


def apply(head, placement, key=0):
    variables, x = head
    keys = {"dropout": jax.random.key(key)}
    return HEAD.apply(variables, x, train=True, placement=Placement.parse(placement), rngs=keys)


def test_it_pools_and_classifies(head):
    variables, x = head
    classifier = variables["params"]["classifier"]
    expected = np.asarray(x).mean((1, 2)) @ classifier["kernel"] + classifier["bias"]
    np.testing.assert_allclose(HEAD.apply(variables, x), expected, atol=1e-6)


def test_training_without_a_placement_is_inference(head):
    variables, x = head
    np.testing.assert_array_equal(HEAD.apply(variables, x, train=True), HEAD.apply(variables, x))


@pytest.mark.parametrize("slot", HEAD.slots)
def test_every_slot_drops(head, slot):
    variables, x = head
    assert not np.array_equal(apply(head, f"{slot}=0.5"), HEAD.apply(variables, x))
    nothing = np.asarray(apply(head, f"{slot}=1"))
    bias = variables["params"]["classifier"]["bias"]
    expected = np.zeros(3) if slot == "logits" else bias
    np.testing.assert_array_equal(nothing, np.broadcast_to(expected, nothing.shape))


def test_channels_dropped_before_the_pooling_are_features_dropped_after_it(head):
    """A channel-wise mask can be drawn out of the mean: every unit is kept doubled, or is zero."""
    variables, x = head
    kernel = variables["params"]["classifier"]["kernel"]
    logits = apply(head, "h4=0.5:channel")
    masks = 2.0 * np.array(list(itertools.product((0, 1), repeat=x.shape[-1])))
    for features, found in zip(np.asarray(x).mean((1, 2)), logits, strict=True):
        assert np.abs((masks * features) @ kernel - found).max(axis=1).min() < 1e-5


def test_every_slot_is_drawn_once():
    drawn = describe(HEAD)
    assert {slot: drawn.count(f"·{slot}·") for slot in HEAD.slots} == dict.fromkeys(HEAD.slots, 1)
