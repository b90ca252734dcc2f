"""Which slots a network has: those that it declares, and those that a call of it reaches."""

import contextlib
import contextvars
import functools
import uuid
from collections.abc import Iterator, Mapping
from typing import Any

import flax.linen as nn
import jax
from flax.core.scope import DenyList

from flaxdrop.placement import Placement

_reached: contextvars.ContextVar[tuple[list[str], ...]] = contextvars.ContextVar(
    "reached", default=()
)


def find_slots(model: nn.Module, *arguments: Any, **options: Any) -> tuple[str, ...]:
    """Finds the slots of a network by tracing a call of it, without computing anything.

    So a placement with a misspelt slot can be refused before training, in a network of your own
    that does not declare its slots: `placement.validate(find_slots(model, x))`.

    Args:
      model: any Linen network with `flaxdrop.Dropout` layers.
      *arguments: arrays, or their shapes, that the network is called with.
      **options: other keywords of the call, as `train=True`.

    Returns:
      The slots in the order in which the network reaches them, each once.

    >>> import flaxdrop
    >>> from flaxdrop.models import Head
    >>> find_slots(Head(num_classes=3), jax.ShapeDtypeStruct((1, 7, 7, 64), "float32"))
    ('h4', 'h5', 'logits')
    """
    with reached_slots() as reached:
        keys = {"params": jax.random.key(0), "dropout": jax.random.key(0)}
        mutable = DenyList(("intermediates", untraced_collection()))
        init = functools.partial(model.init, mutable=mutable, **options)
        jax.eval_shape(init, keys, *arguments)
    return tuple(reached)


@contextlib.contextmanager
def reached_slots() -> Iterator[list[str]]:
    """Lists the slots whose layers are called inside the context, each once.

    `nn.jit` does not call a layer again that it traced before: see `untraced_collection`.
    """
    slots: list[str] = []
    token = _reached.set((*_reached.get(), slots))
    try:
        yield slots
    finally:
        _reached.reset(token)


def note_reached(slot: str) -> None:
    """Adds a slot, whose layer is called, to the lists of `reached_slots`."""
    for slots in _reached.get():
        if slot not in slots:
            slots.append(slot)


def untraced_collection() -> str:
    """Makes a name of a collection that no call had before.

    `nn.jit` keeps what it traced for the same mutable collections. With this name among them it
    traces again, and the layers inside are called.
    """
    return uuid.uuid4().hex


def declared_slots(model: Any) -> Mapping[str, int] | None:
    """The slots that a network declares by its property `slots`.

    Returns:
      Slot -> number of its places; None: the network declares nothing.
    """
    slots = getattr(model, "slots", None)
    return slots if isinstance(slots, Mapping) else None


def check_declared(layer: nn.Module, placement: Placement) -> None:
    """Refuses a slot that no network around a layer declares, where one declares its slots.

    Raises:
      ValueError: there is such a slot.
    """
    known: list[str] = []
    module: Any = layer.parent
    while isinstance(module, nn.Module):
        known += declared_slots(module) or ()
        module = module.parent
    if known:
        placement.validate(known)


def check_reached(model: Any, placement: Placement, reached: list[str]) -> None:
    """Refuses a slot that a network neither reaches nor declares: it is misspelt.

    Args:
      model: the network.
      placement: what it was called with.
      reached: the slots of that call, from `reached_slots`.

    Raises:
      ValueError: there is such a slot.
    """
    placement.validate([*(declared_slots(model) or ()), *reached])
