"""Dropout at the places of an NNX network: the hooks, and what they are told."""

import dataclasses
import functools
from typing import Any

import flax.errors
import jax
import jax.numpy as jnp

from flaxdrop import hashing
from flaxdrop.analysis.paths import Path
from flaxdrop.boundaries.places import Place, Places
from flaxdrop.boundaries.tracing import single_input, value_at, with_value
from flaxdrop.dropout import dropout
from flaxdrop.nnx.dropout import Dropout
from flaxdrop.nnx.hooks import Call, Hook, assign
from flaxdrop.placement import Placement

_AGAIN = "flaxdrop_again_"


@dataclasses.dataclass(frozen=True)
class Drop:
    """A hook that drops at a side of a module.

    What it is told is uint32 [4]: two words that the mask depends on, the bits of the f32 rate, and
    how often it was called in this pass.

    Attributes:
      place: name of the place.
      slot: the name by which the placement names it.
      side: "in" or "out".
      mask: what is dropped together.
    """

    place: str
    slot: str
    side: str
    mask: str

    def __call__(self, call: Call) -> Any:
        """Calls the module between the two sides."""
        if self.side == "out":
            return self._drop(call, call.go())
        arguments, options = call.arguments, call.options
        place, _ = single_input(arguments, options)
        if place is not None:
            x = self._drop(call, value_at(place, arguments, options))
            arguments, options = with_value(place, x, arguments, options)
        return call.proceed(*arguments, **options)

    def _drop(self, call: Call, x: Any) -> Any:
        told = call.data[self.side]
        value = told[...]
        if value.shape != (4,):
            raise ValueError(
                f"slot {self.place}: the nnx.scan or nnx.vmap around it must take all Variables"
                " along axis 0, as in_axes=0, or nnx.StateAxes with `...: 0`"
            )
        words, rate, calls = value[:2], value[2], value[3]
        try:
            assign(told, value.at[3].add(1))
        except flax.errors.TraceContextError:
            # In a transformation of JAX, which knows no Variables: count where it is traced.
            again = call.data.get(f"again_{self.side}", 0)
            calls = calls + jnp.uint32(again)
            vars(call.module)[_AGAIN + self.side] = again + 1
        words = jnp.where(calls > 0, hashing.fold_in(words, calls), words)
        return dropout(words, x, jax.lax.bitcast_convert_type(rate, jnp.float32), self.mask)


def drops(
    places: Places, placement: Placement, key: jax.Array | None
) -> tuple[dict[Path, tuple[Hook, ...]], dict[Path, dict[str, Any]]]:
    """Makes the hooks that a placement asks for.

    Args:
      places: of the network.
      placement: where dropout is on.
      key: one PRNG key.

    Returns:
      (path of a module -> hooks, path -> name -> what they are told).

    Raises:
      ValueError: as the call of a network that `with_slots` made.
    """
    settings = places.settings(placement)
    if settings and key is None:
        raise ValueError(f"key: must be given, for slot {placement.slots[0]} has a rate")
    hooks: dict[Path, tuple[Hook, ...]] = {}
    data: dict[Path, dict[str, Any]] = {}
    numbers: dict[tuple[Path, str], int] = {}
    for place in places.every:
        path, side = place.boundary.path, place.boundary.side
        layer = place.boundary.kind is Dropout
        if layer:
            numbers[path[:-1], place.group] = numbers.get((path[:-1], place.group), 0) + 1
        if place.name not in settings:
            continue
        setting = settings[place.name]
        if layer:
            words = _layer_words(place, numbers[path[:-1], place.group], key)
        else:
            words = _boundary_words(place, key)
        hooks[path] = (*hooks.get(path, ()), Drop(place.name, setting.slot, side, setting.mask))
        data.setdefault(path, {})[side] = _told(place, words, setting.rate)
    return hooks, data


def _told(place: Place, words: jax.Array, rate: Any) -> jax.Array:
    """uint32 [..., 4], where ... are the scans around the place."""
    turns = place.boundary.shape or ()
    rates = jnp.broadcast_to(jnp.asarray(rate, jnp.float32), (place.count,))
    bits = jax.lax.bitcast_convert_type(rates, jnp.uint32)[:, None]
    # `flax.linen.scan` traces its body twice, and so counts one call of each module before.
    calls = jnp.full_like(bits, 1 if turns else 0)
    flat = jnp.concatenate([words, bits, calls], axis=1)
    return flat.reshape(*turns, 4)


def _boundary_words(place: Place, key: Any) -> jax.Array:
    """uint32 [places, 2], as `flaxdrop.with_slots` has them."""
    own = hashing.fold_in(hashing.key_to_words(key), hashing.name_word(place.name))
    own = own[None]
    if place.count > 1:
        turns = jnp.arange(place.count, dtype=jnp.uint32)
        own = jax.vmap(functools.partial(hashing.fold_in, own[0]))(turns)
    here = _keys_here(place, key)

    def fold(own: jax.Array, here: jax.Array) -> jax.Array:
        return hashing.fold_in(hashing.fold_in(own, here[0]), here[1])

    return jax.vmap(fold)(own, here)


def _layer_words(place: Place, number: int, key: Any) -> jax.Array:
    """uint32 [places, 2], as `flaxdrop.Dropout` has them."""
    name = f"{place.group}_dropout" + (f"_{number}" if number > 1 else "")
    word = jnp.uint32(hashing.name_word(*place.boundary.path[:-1], name))
    return jax.vmap(lambda here: hashing.fold_in(here, word))(_keys_here(place, key))


def _keys_here(place: Place, key: Any) -> jax.Array:
    """uint32 [places, 2]: the key, split as `flax.linen.scan` splits it."""
    if place.count == 1:
        return hashing.key_to_words(key)[None]
    return jax.vmap(hashing.key_to_words)(jax.random.split(key, place.count))
