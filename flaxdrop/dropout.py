"""Inverted dropout with a traced rate: a pure function, and the Linen layer over it.

While training, a unit is zeroed with probability `rate` and the others are scaled by
1 / (1 - rate); without a rate the layer is the identity. The mask is a function of (key, element
index): it is recomputed in the backward pass, never stored.
"""

import functools
import itertools
import math

import flax.errors
import flax.linen as nn
import jax
import jax.numpy as jnp

from flaxdrop import hashing
from flaxdrop.mask import parse_mask
from flaxdrop.placement import Placement, check_placement
from flaxdrop.rate import Ramp, check_rate
from flaxdrop.slots import check_declared, note_reached

_RESOLUTION = 1 << 24  # rates are resolved to 2^-24, the spacing of f32 below 1


def dropout(
    key: jax.Array, x: jax.Array, rate: jax.Array | float, mask: str = "element"
) -> jax.Array:
    """Zeroes units with probability `rate` and scales the others so that the mean is preserved.

    Gradients are those of reverse mode, of any order; there is no forward mode (`jax.jvp`).

    Args:
      key: one PRNG key; its value is not used when `rate` is the number 0.
      x: f32, bf16 or f16 `[N, ..., C]`; `[N, H, W, C]` for "block", any rank for "element".
      rate: the probability of a zero, in [0, 1]; a number or a (traced) scalar. 0 is exactly the
        identity, 1 gives zeros. A traced one cannot be refused: below 0 it counts as 0, above 1 as
        1, and NaN gives NaN, forward and backward. No gradient flows into it.
      mask: what is zeroed together: "element"; "channel", the whole feature map of an example
        (spatial dropout); "sample", the whole example (stochastic depth, on a branch); "block",
        squares of 7x7 pixels of a feature map (DropBlock, Ghiasi et al. 2018), "block<size>" for
        other sizes. Squares overlap, and their paper does not account for it: of 16x16 maps .09,
        .25, .36 of the units are zero at rates .1, .3, .5, and .55 just below 1.

    Returns:
      An array like `x`.

    Raises:
      ValueError: `rate` is known and outside [0, 1], `mask` is unknown, or it does not fit the
        rank of `x`; more than 2^32 elements.

    >>> dropout(jax.random.key(1), jnp.ones(8), 0.5)
    Array([0., 0., 0., 0., 2., 0., 2., 0.], dtype=float32)
    """
    kind, size = parse_mask(mask)
    check_rate(rate)
    x = jnp.asarray(x)
    if not jnp.issubdtype(x.dtype, jnp.floating):
        raise ValueError(f"x: dropout needs floating-point units, got {x.dtype}")
    if jnp.ndim(rate) != 0:
        raise ValueError(f"rate: expected one rate, got an array of shape {jnp.shape(rate)}")
    ranks = {"element": 0, "channel": 2, "sample": 1, "block": 4}
    if x.ndim < ranks[kind] or (kind == "block" and x.ndim != 4):
        raise ValueError(f"mask: {mask!r} does not fit an array of shape {x.shape}")
    if isinstance(rate, (int, float)) and rate == 0:
        return x
    return _masked(hashing.key_to_words(key), x, jnp.asarray(rate, jnp.float32), kind, size)


@functools.partial(jax.custom_vjp, nondiff_argnums=(3, 4))
def _dropped(words: jax.Array, x: jax.Array, rate: jax.Array, kind: str, size: int) -> jax.Array:
    rate = jnp.where(rate < 0, 0, jnp.where(rate > 1, 1, rate))  # not clip: NaN stays NaN
    if kind == "block":
        keep, scale = _blocks(words, x.shape, rate, size)
    else:
        shape = {
            "element": x.shape,
            "channel": x.shape[:1] + (1,) * (x.ndim - 2) + x.shape[-1:],
            "sample": x.shape[:1] + (1,) * (x.ndim - 1),
        }[kind]
        keep = _keep(words, shape, rate)
        scale = 1 / jnp.where(rate < 1, 1 - rate, 1)
    scale = jnp.where(jnp.isnan(rate), rate, scale)  # of units that are all kept
    wide = x.astype(jnp.float64 if x.dtype == jnp.float64 else jnp.float32)
    return jnp.where(keep, wide * scale, 0).astype(x.dtype)


def _forward(
    words: jax.Array, x: jax.Array, rate: jax.Array, kind: str, size: int
) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return _masked(words, x, rate, kind, size), (words, rate)


def _backward(
    kind: str, size: int, residuals: tuple[jax.Array, jax.Array], g: jax.Array
) -> tuple[None, jax.Array, None]:
    words, rate = residuals
    return None, _masked(words, g, rate, kind, size), None


_dropped.defvjp(_forward, _backward)
# Traced once for all layers of a shape.
_masked = jax.jit(_dropped, static_argnums=(3, 4))


def _keep(words: jax.Array, shape: tuple[int, ...], rate: jax.Array) -> jax.Array:
    threshold = jnp.where(rate > 0, rate * _RESOLUTION, 0).astype(jnp.uint32)
    return (hashing.bits(words, shape) >> 8) >= threshold


def _blocks(
    words: jax.Array, shape: tuple[int, ...], rate: jax.Array, size: int
) -> tuple[jax.Array, jax.Array]:
    """DropBlock's mask, and its scale: units / units kept (Ghiasi et al. 2018, Algorithm 1)."""
    _, height, width, _ = shape
    rows, columns = min(size, height), min(size, width)
    corners = (height - rows + 1) * (width - columns + 1)
    gamma = jnp.minimum(rate / (rows * columns) * (height * width / corners), 1)
    gamma = jnp.where(rate == 1, 1, gamma)
    starts = ~_keep(words, (shape[0], height - rows + 1, width - columns + 1, shape[3]), gamma)
    dropped = jax.lax.reduce_window(
        starts,
        False,
        jax.lax.bitwise_or,
        window_dimensions=(1, rows, columns, 1),
        window_strides=(1, 1, 1, 1),
        padding=((0, 0), (rows - 1, rows - 1), (columns - 1, columns - 1), (0, 0)),
    )
    kept = jnp.sum(~dropped, dtype=jnp.int32).astype(jnp.float32)
    return ~dropped, jnp.float32(math.prod(shape)) / jnp.maximum(kept, 1)


class Dropout(nn.Module):
    """A dropout slot: a named place in a network where a placement can put dropout.

    The layer is the identity unless the placement names its slot. Its mask depends on the
    "dropout" key, on the names of the modules around it and on the slot, and on nothing else: other
    slots may come and go without changing it. Called again in one pass, as in a block that is used
    twice, it draws another mask.

    Attributes:
      slot: the name of the slot. The layer calls itself "<slot>_dropout", so that a slot may share
        its name with the layer that it follows. Where a module has the slot several times, as in a
        loop over blocks, the second layer is "<slot>_dropout_2", and so on: each draws its own
        mask.

    >>> import jax, jax.numpy as jnp
    >>> layer, x = Dropout("p6"), jnp.ones((2, 4))
    >>> layer.apply({}, x, Placement.parse("p6=0.5"), rngs={"dropout": jax.random.key(1)}).shape
    (2, 4)
    >>> bool((layer.apply({}, x) == x).all())
    True
    """

    slot: str

    def __post_init__(self) -> None:
        if self.name is not None:
            super().__post_init__()
            return
        # Flax would number all layers of this class, and then the mask, which depends on the name,
        # would depend on the other slots. Here only the layers of this slot are numbered.
        for number in itertools.count(1):
            self.name = f"{self.slot}_dropout" + (f"_{number}" if number > 1 else "")
            try:
                super().__post_init__()
                break
            except flax.errors.NameInUseError:
                continue
        if self.parent is None:
            # Made outside of a network: a module that it is passed to adopts what has no name yet.
            object.__setattr__(self, "name", None)

    @nn.compact
    def __call__(self, x: jax.Array, placement: Placement | None = None) -> jax.Array:
        """Drops units of `x` at the rate that `placement` gives this slot.

        Args:
          x: `[N, ..., C]`.
          placement: None, or a placement; a slot that it does not name stays the identity.

        Returns:
          An array like `x`.

        Raises:
          ValueError: the slot has a rate, but no key was given (`rngs={"dropout": key}`); it is no
            placement, or has rates for many places here; it names a slot that is not among those
            that the network declares by a property `slots` (slot -> places); otherwise as
            `dropout`.
        """
        note_reached(self.slot)
        if placement is None:
            return x
        check_placement(placement)
        check_declared(self, placement)
        if self.slot not in placement:
            return x
        if not self.has_rng("dropout"):
            raise ValueError(
                f'slot {self.slot} has a rate: pass rngs={{"dropout": key}} to apply, or init'
            )
        rate = placement.rate(self.slot)
        if isinstance(rate, Ramp) or jnp.ndim(rate):
            raise ValueError(
                f"placement: slot {self.slot!r} has rates for many places, must be one here:"
                f' Placement.broadcast({{"{self.slot}": places}}), of which place i takes .at(i)'
            )
        return dropout(_slot_key(self), x, rate, placement.mask(self.slot))


def _slot_key(module: nn.Module) -> jax.Array:
    # As make_rng, but hashed with `hashing`: a threefry call a slot would cost more than the mask.
    assert module.scope is not None
    rng = module.scope.rngs["dropout"]
    names = (str(part) for part in rng.suffix)
    words = hashing.fold_in(hashing.key_to_words(rng.rng), hashing.name_word(*names))
    calls = module.scope.rng_counters.get("dropout", 0)
    module.scope.rng_counters["dropout"] = calls + 1
    return hashing.fold_in(words, calls) if calls else words
