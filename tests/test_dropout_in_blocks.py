"""A slot that stands several times in a module, as in blocks that are written out in a loop."""

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flaxdrop import Dropout, Placement

X = jnp.ones((4, 32))
KEY = jax.random.key(5)


class Repeated(nn.Module):
    """Blocks that are written out in one method, each with the same slots."""

    slots: tuple[str, ...]
    blocks: int = 3

    @nn.compact
    def __call__(self, x: jax.Array, placement: Placement | None = None) -> list[jax.Array]:
        outs = [[Dropout(slot)(x, placement) for slot in self.slots] for _ in range(self.blocks)]
        return [block[0] for block in outs]


class RepeatedInSetup(nn.Module):
    def setup(self) -> None:
        self.first = Dropout("a")
        self.others = [Dropout("a") for _ in range(2)]

    def __call__(self, x: jax.Array, placement: Placement | None = None) -> list[jax.Array]:
        return [layer(x, placement) for layer in (self.first, *self.others)]


class Inside(nn.Module):
    kind: type[nn.Module]

    @nn.compact
    def __call__(self, x: jax.Array, placement: Placement) -> list[jax.Array]:
        return self.kind(name="inside")(x, placement)


def test_a_slot_that_is_repeated_in_a_module_has_a_mask_for_each_place():
    placement, rngs = Placement.parse("a=0.5"), {"dropout": KEY}
    masks = Repeated(("a",)).apply({}, X, placement, rngs=rngs)
    assert all(np.any(masks[i] != masks[j]) for i in range(3) for j in range(i))
    # They are numbered by themselves, in the order of the calls: neither other slots nor later
    # blocks change a mask, and the first is that of a slot that stands there once.
    beside = Repeated(("a", "b")).apply({}, X, placement, rngs=rngs)
    chex.assert_trees_all_equal(masks, beside)
    chex.assert_trees_all_equal(masks[:1], Repeated(("a",), 1).apply({}, X, placement, rngs=rngs))
    chex.assert_trees_all_equal(masks, RepeatedInSetup().apply({}, X, placement, rngs=rngs))
    lifted = Inside(nn.remat(RepeatedInSetup)).apply({}, X, placement, rngs=rngs)
    chex.assert_trees_all_equal(lifted, Inside(RepeatedInSetup).apply({}, X, placement, rngs=rngs))


class Blocks(nn.Module):
    """Blocks with a rate each, and a head whose rate the placement has too."""

    blocks: int = 3

    @nn.compact
    def __call__(self, x: jax.Array, placement: Placement | None = None) -> list[jax.Array]:
        spread = (placement or Placement()).broadcast({"p6": self.blocks})
        outs = [Dropout("p6")(x, spread.at(block)) for block in range(self.blocks)]
        return [*outs, Dropout("h4")(x, spread)]


def test_blocks_take_their_own_rates_beside_a_head_that_has_one():
    placement = Placement.parse("p6=0..1,h4=0.5")
    *blocks, head = Blocks().apply({}, X, placement, rngs={"dropout": KEY})
    chex.assert_trees_all_equal(blocks[0], X)
    chex.assert_trees_all_equal(blocks[2], jnp.zeros_like(X))
    for out in (blocks[1], head):
        assert 0 < np.mean(np.asarray(out) == 0) < 1


def test_a_ramp_that_is_not_spelled_out_is_refused_by_its_layer():
    with pytest.raises(ValueError, match=r"^placement: slot 'h4' has rates for many places"):
        Blocks().apply({}, X, Placement.parse("p6=0..1,h4=0..1"), rngs={"dropout": KEY})
