"""One rate of a placement: a number, an array with a rate a block, or a ramp over the blocks."""

import dataclasses
import re
from typing import Any, Self

import jax
import jax.numpy as jnp
import numpy as np


def check_rate(rate: jax.Array | float, field: str = "rate") -> None:
    """Refuses a rate that is known and not a probability.

    Args:
      rate: one rate or an array of rates; traced ones pass, for their values are not known.
      field: what the message names.

    Raises:
      ValueError: a rate outside [0, 1], or NaN.
    """
    if isinstance(rate, jax.core.Tracer):
        return
    # NumPy, for jnp would trace the comparison inside jit, where a rate may well be known.
    values = np.ravel(np.asarray(rate, np.float32))
    refused = values[~((values >= 0) & (values <= 1))]
    if refused.size:
        raise ValueError(f"{field}: must be in [0, 1], got {refused[0]:g}")


@jax.tree_util.register_pytree_node_class
@dataclasses.dataclass(frozen=True)
class Ramp:
    """Rates that run linearly from the first block to the last (as stochastic depth's do)."""

    first: Any
    last: Any

    def tree_flatten(self) -> tuple[tuple[Any, Any], None]:
        """Both ends are leaves."""
        return (self.first, self.last), None

    @classmethod
    def tree_unflatten(cls, _: None, leaves: tuple[Any, Any]) -> Self:
        """The inverse of `tree_flatten`."""
        return cls(*leaves)


def parse_rate(slot: str, text: str) -> Any:
    """Reads "0.1", "first..last" or "one/two/...".

    Args:
      slot: what the message names.
      text: the rate, or rates, each in [0, 1].

    Returns:
      A number, a `Ramp` or an f32 array, a rate a block.

    Raises:
      ValueError: it does not read so.
    """
    try:
        if ".." in text:
            first, last = (_probability(part) for part in text.split(".."))
            return Ramp(first, last)
        if "/" in text:
            return np.array([_probability(part) for part in text.split("/")], np.float32)
        return _probability(text)
    except ValueError:
        raise ValueError(
            f"placement: the rate of {slot!r} must be in [0, 1] (or first..last, or one/two/...),"
            f" got {text.strip()!r}"
        ) from None


# Python's `float` reads underscores and the digits of every script, too.
_NUMBER = re.compile(r"\s*[0-9]*\.?[0-9]*(?:[eE][+-]?[0-9]+)?\s*", re.ASCII)


def _probability(text: str) -> float:
    if not _NUMBER.fullmatch(text):
        raise ValueError
    rate = float(text)
    if not 0 <= rate <= 1:
        raise ValueError
    return rate


def print_rate(rate: Any) -> str:
    """A rate as `parse_rate` reads it, in the shortest digits; "traced" where it is not known."""
    if isinstance(rate, Ramp):
        return f"{print_rate(rate.first)}..{print_rate(rate.last)}"
    if isinstance(rate, jax.core.Tracer):
        return "traced"
    return "/".join(np.format_float_positional(value, trim="-") for value in np.ravel(rate))


def spread_rate(slot: str, rate: Any, places: int) -> jax.Array:
    """Spells a rate out over the places of its slot.

    Args:
      slot: what the message names.
      rate: a number, a `Ramp`, or a rate for each place.
      places: how many.

    Returns:
      f32 `[places]`, or a scalar for one place.

    Raises:
      ValueError: a known rate outside [0, 1], or another number of rates.
    """
    for known in jax.tree.leaves(rate):
        check_rate(known, f"placement: the rate of {slot!r}")
    if isinstance(rate, Ramp):
        at = jnp.linspace(0.0, 1.0, places) if places > 1 else jnp.ones((1,))
        values = rate.first + (rate.last - rate.first) * at
    else:
        values = jnp.asarray(rate, jnp.float32)
        if values.ndim and values.shape != (places,):
            raise ValueError(
                f"placement: slot {slot!r} has {places} places, got {values.size} rates"
            )
        values = jnp.broadcast_to(values, (places,))
    values = values.astype(jnp.float32)
    return values if places > 1 else values[0]


def rate_at(slot: str, rate: Any, block: Any) -> Any:
    """Takes the rate of a block.

    Args:
      slot: the slot, which the message names.
      rate: `[blocks]`; or a scalar or a `Ramp`, which stays as it is.
      block: as in `Placement.at`.

    Raises:
      ValueError: a known block that is not there.
    """
    if isinstance(rate, Ramp) or not jnp.ndim(rate):
        return rate
    rates = jnp.asarray(rate)
    known = not isinstance(block, slice | jax.core.Tracer)
    if known and not 0 <= block < len(rates):
        raise ValueError(f"block: must be in [0, {len(rates)}) at slot {slot!r}, got {block}")
    return rates[block]
