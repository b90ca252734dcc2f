"""A network at inference with its dropout on, made sure that it can be called so."""

import contextlib
import uuid
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from flaxdrop.dropout import Dropout
from flaxdrop.placement import Placement, check_placement


def masked_call(
    model: nn.Module,
    variables: Any,
    x: jax.Array,
    placement: Placement,
    inference: Mapping[str, Any] | None,
) -> tuple[Callable[[jax.Array], jax.Array], jax.ShapeDtypeStruct]:
    """The output of a network under the masks of a key, and its shape.

    Args:
      model: takes `(x, placement)` and more keywords.
      variables: its parameters and batch statistics.
      x: its first argument.
      placement: what is on.
      inference: those keywords; None: none.

    Raises:
      ValueError: a placement that is none, or names a slot that the network never calls; a network
        that takes none, or not these keywords; no example, or one that is known not to be finite.
    """
    check_placement(placement)
    for leaf in jax.tree.leaves(x):
        if not jnp.size(leaf):
            raise ValueError(f"x: must have an example, got shape {jnp.shape(leaf)}")
        known = not isinstance(leaf, jax.core.Tracer)
        # A ReLU may well make numbers of NaN.
        if known and not np.isfinite(np.asarray(leaf, np.float32)).all():
            raise ValueError("x: must be finite, got NaN or infinity")
    options = {**(inference or {}), "placement": placement}

    def apply(key: jax.Array, **more: Any) -> Any:
        return model.apply(variables, x, **options, rngs={"dropout": key}, **more)

    # `nn.jit` keeps what it once traced, without listing, for the same collections.
    anew = [uuid.uuid4().hex]
    try:
        with _listed() as called:
            shape, _ = jax.eval_shape(lambda key: apply(key, mutable=anew), jax.random.key(0))
    except TypeError as error:
        if "unexpected keyword argument 'placement'" in str(error):
            raise ValueError(
                "model: must take placement= and have flaxdrop.Dropout inside,"
                f" {type(model).__name__} does not take it"
            ) from None
        if "argument" in str(error) and "__call__" in str(error):
            raise ValueError(
                f"inference: {error}; say how the network is called, for example"
                ' inference={"train": False}'
            ) from None
        raise
    check_slots(model, placement, called)
    return apply, shape


def check_slots(model: Any, placement: Placement, called: list[str]) -> None:
    """Refuses a slot that a network neither calls nor says that it has: it is misspelt.

    Raises:
      ValueError: there is one.
    """
    placement.validate([*(slots_of(model) or ()), *called])


def slots_of(model: Any) -> Mapping[str, int] | None:
    """The slots that a network says it has: slot -> how many places; None: it says nothing."""
    slots = getattr(model, "slots", None)
    return slots if isinstance(slots, Mapping) else None


@contextlib.contextmanager
def _listed() -> Iterator[list[str]]:
    """The slots that are called within."""
    called: list[str] = []

    def intercept(
        call: Callable[..., Any],
        arguments: tuple[Any, ...],
        options: dict[str, Any],
        context: nn.module.InterceptorContext,
    ) -> Any:
        if isinstance(context.module, Dropout) and context.module.slot not in called:
            called.append(context.module.slot)
        return call(*arguments, **options)

    with nn.intercept_methods(intercept):
        yield called
