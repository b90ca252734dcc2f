"""Dropout in the calls of a network's layers, from outside.

What a place is told, its rate and the words that its mask depends on, lies among the "params" of
its module, under the name ":in:element" or another side and mask. There it goes through `nn.scan`,
`nn.vmap`, `nn.remat` and `nn.jit` as parameters do.
"""

import functools
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from flaxdrop import hashing
from flaxdrop.boundaries.tracing import Path, single_input, value_at, with_value
from flaxdrop.dropout import dropout


def told_to_places(
    places: Iterable[Any], settings: Mapping[str, tuple[Any, str]], words: jax.Array
) -> tuple[dict[str, Any], dict[tuple[Path, str, str], Any]]:
    """What the places are told: through "params", and the others beside them."""
    told: dict[str, Any] = {}
    beside: dict[tuple[Path, str, str], Any] = {}
    for place in places:
        if place.name not in settings:
            continue
        rate, mask = settings[place.name]
        shape = place.boundary.shape
        own = hashing.fold_in(words, hashing.name_word(place.name))
        if shape is None:
            beside[place.boundary.path, place.boundary.side, mask] = _packed(rate, own)
            continue
        if place.count > 1:
            turns = jnp.arange(place.count, dtype=jnp.uint32)
            own = jax.vmap(functools.partial(hashing.fold_in, own))(turns)
        parts = _packed(jnp.broadcast_to(jnp.asarray(rate, jnp.float32), (place.count,)), own)
        node = told
        for name in place.boundary.path:
            node = node.setdefault(name, {})
        node[f":{place.boundary.side}:{mask}"] = tuple(
            jnp.broadcast_to(part, (place.count,)).reshape(shape) for part in parts
        )
    return told, beside


def _packed(rate: Any, words: jax.Array) -> tuple[jax.Array, ...]:
    """A rate and the halves of two words, all as f32, which whatever treats "params" leaves as is.

    Args:
      rate: scalar or [places].
      words: uint32 [2] or [places, 2].
    """
    halves = jnp.stack([words >> 16, words & 0xFFFF], axis=-1).astype(jnp.float32)
    flat = halves.reshape(*words.shape[:-1], 4)
    return (jnp.asarray(rate, jnp.float32), *(flat[..., i] for i in range(4)))


def _unpacked(parts: tuple[jax.Array, ...]) -> tuple[jax.Array, jax.Array]:
    rate, *halves = (jnp.reshape(part, ()) for part in parts)
    whole = [half.astype(jnp.uint32) for half in halves]
    return rate, jnp.stack([(whole[0] << 16) | whole[1], (whole[2] << 16) | whole[3]])


def with_told(params: Any, told: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters with what places are told among them."""
    both = dict(params)
    for name, value in told.items():
        inner = isinstance(value, Mapping)
        both[name] = with_told(both.get(name, {}), value) if inner else value
    return both


def without_told(params: Any) -> Any:
    """`params` without what places were told, and without modules that have nothing else."""
    if not isinstance(params, Mapping):
        return params
    kept = {}
    for name, value in params.items():
        if name.startswith((":in:", ":out:")):
            continue
        inner = without_told(value)
        emptied = isinstance(value, Mapping) and value and not inner
        if not emptied:
            kept[name] = inner
    return kept


def dropping(
    masks: frozenset[str], beside: Mapping[tuple[Path, str, str], Any]
) -> Callable[..., Any]:
    """An interceptor that drops at the places that are told a rate."""

    def drop(module: nn.Module, side: str, x: jax.Array) -> jax.Array:
        scope = module.scope
        assert scope is not None
        for mask in sorted(masks):
            name = f":{side}:{mask}"
            if scope.has_variable("params", name):
                parts = scope.get_variable("params", name)
            elif (module.path, side, mask) in beside:
                parts = beside[module.path, side, mask]
            else:
                continue
            rate, words = _unpacked(parts)
            return dropout(place_words(module, side, words), x, rate, mask)
        return x

    def intercept(call: Any, arguments: Any, keywords: Any, context: Any) -> Any:
        module = context.module
        if context.method_name != "__call__" or not module.path:
            return call(*arguments, **keywords)
        place, _ = single_input(arguments, keywords)
        if place is not None:
            x = drop(module, "in", value_at(place, arguments, keywords))
            arguments, keywords = with_value(place, x, arguments, keywords)
        out = call(*arguments, **keywords)
        return drop(module, "out", out) if hasattr(out, "dtype") else out

    return intercept


def place_words(module: nn.Module, side: str, words: jax.Array) -> jax.Array:
    """The words that the mask of a call depends on.

    Args:
      module: that is called.
      side: "in" or "out".
      words: uint32 [2], of the key, the place and the iteration.

    Returns:
      uint32 [2]. Where the network splits the "dropout" key, as in a scan whose iterations share
      their parameters, they depend on the part that is here; in a module that is called again,
      on the number of the call.
    """
    scope = module.scope
    assert scope is not None
    if "dropout" in scope.rngs:
        here = hashing.key_to_words(scope.rngs["dropout"].rng)
        words = hashing.fold_in(hashing.fold_in(words, here[0]), here[1])
    name = f":{side}"
    calls = scope.rng_counters.get(name, 0)
    scope.rng_counters[name] = calls + 1
    return hashing.fold_in(words, calls) if calls else words
