"""Slots in an NNX network that is not edited: before and behind every module.

The names, patterns, groups and masks are those of `flaxdrop.with_slots`, which is for Linen.
"""

import dataclasses
import functools
from typing import Any

import flax.linen
import jax
from flax import nnx

from flaxdrop.boundaries.places import Place, Places, find_places
from flaxdrop.boundaries.tracing import Boundary
from flaxdrop.nnx.boundaries import find_boundaries
from flaxdrop.nnx.dropout import Dropout
from flaxdrop.nnx.drops import drops
from flaxdrop.nnx.hooks import call_hooked, modules_of, subclass
from flaxdrop.placement import Placement

_PLAN = "flaxdrop_plan"


def check_module(model: Any) -> None:
    """Refuses what is no NNX module.

    Raises:
      ValueError: it is none; the message says where Linen modules go.
    """
    if isinstance(model, flax.linen.Module):
        raise ValueError(
            f"model: must be a flax.nnx.Module, got the Linen module {type(model).__name__}; use"
            " flaxdrop.with_slots and flaxdrop.analysis"
        )
    if isinstance(model, nnx.Module):
        return
    got = f"the class {model.__name__}" if isinstance(model, type) else type(model).__name__
    raise ValueError(f"model: must be a flax.nnx.Module, got {got}")


def is_slotted(model: Any) -> bool:
    """Whether `with_slots` made a network."""
    return _PLAN in vars(model)


def plan_of(slotted: Any) -> Places:
    """The places of a network that `with_slots` made."""
    return vars(slotted)[_PLAN]


def class_of(model: Any) -> type:
    """The class of a network, without what `with_slots` adds."""
    return type(model).__base__ if is_slotted(model) else type(model)  # type: ignore[return-value]


def with_slots(model: Any, *arguments: Any, **options: Any) -> Any:
    """Puts slots before and behind every module of an NNX network, without editing it.

    A slot is at every module that takes one array (`:in`), and at every one that gives one
    (`:out`). Boundaries that are one place are one slot, which has both names. The layers
    `flaxdrop.nnx.Dropout` of the network are slots by their own names. `nnx.Dropout` stays as it
    is.

    Args:
      model: any NNX network. It is traced, not computed, and stays as it is.
      *arguments: arrays, or their shapes, that it is called with: an example.
      **options: keywords of the call.

    Returns:
      A network of the same class, modules and Variables: what trains or changes one, changes both.
      It has `slots` (group -> number of places), `places`, `aliases` (name of a boundary -> that of
      its place) and `left_out` (name of a boundary -> why it takes no dropout). Its call takes
      `placement=` (None: it is the call of the network) and `key=`, one PRNG key. Both may be
      traced, in `nnx.jit`, `nnx.grad` and the like: one program serves all rates.

    Raises:
      ValueError: it is no NNX module; in a call, a placement that is none, or names no place, or
        one place twice; a rate outside [0, 1], or another number of rates than places; no key.

    >>> import jax.numpy as jnp
    >>> class Block(nnx.Module):
    ...     def __init__(self, rngs):
    ...         self.norm = nnx.LayerNorm(8, rngs=rngs)
    ...         self.dense = nnx.Linear(8, 8, rngs=rngs)
    ...     def __call__(self, x):
    ...         return x + self.dense(nnx.relu(self.norm(x)))
    >>> rngs, x = nnx.Rngs(0), jnp.ones((2, 8))
    >>> model = with_slots(nnx.Sequential(nnx.Linear(8, 8, rngs=rngs), Block(rngs), Block(rngs)), x)
    >>> for slot, places in model.slots.items():
    ...     print(slot, places)
    layers/0:in 1
    layers/[1-2]:in 2
    layers/*/norm:in 2
    layers/*/norm:out 2
    layers/*/dense:in 2
    layers/*/dense:out 2
    layers/2:out 1
    >>> model.aliases["layers/0:out"]
    'layers/1:in'
    >>> placement = Placement.parse("layers/*/dense:in=0.1")
    >>> model(x, placement=placement, key=jax.random.key(1)).shape
    (2, 8)
    """
    check_module(model)
    cls = class_of(model)
    found = find_boundaries(model, arguments, options)
    layers = _slots_of_layers(model, found.every)
    order = [boundary.name for boundary in found.every]
    every = tuple(boundary for boundary in found.every if boundary.name not in layers)
    others = dataclasses.replace(found, every=every)
    places = [
        *find_places(others, lambda kind: issubclass(kind, nnx.Dropout)),
        *(Place(b, (), layers[b.name]) for b in found.every if b.name in layers),
    ]
    places.sort(key=lambda place: order.index(place.name))
    return with_plan(model, Places(cls.__name__, tuple(places), tuple(found.left_out.items())))


def with_plan(model: Any, plan: Places) -> Any:
    """Puts slots where they are known to be."""
    slotted = nnx.merge(*nnx.split(model))
    for name, value in vars(model).items():
        if not name.startswith("_pytree__"):
            vars(slotted)[name] = value  # the same modules, that train() and eval() of both reach
    object.__setattr__(slotted, "__class__", _slotted_class(class_of(model)))
    setattr(slotted, _PLAN, plan)
    return slotted


@functools.cache
def _slotted_class(cls: Any) -> Any:
    # Not a base class: an object could not change its class from one with two bases.
    @functools.wraps(cls.__call__)
    def __call__(  # noqa: N807
        self: Any,
        *arguments: Any,
        placement: Placement | None = None,
        key: jax.Array | None = None,
        **options: Any,
    ) -> Any:
        if placement is None:
            return super(slotted, self).__call__(*arguments, **options)
        hooks, data = drops(plan_of(self), placement, key)
        return call_hooked(self, cls, hooks, data, arguments, options)

    slotted = subclass(
        cls,
        __call__=__call__,
        slots=property(lambda self: plan_of(self).slots),
        aliases=property(lambda self: plan_of(self).aliases),
        places=property(lambda self: plan_of(self).every),
        left_out=property(lambda self: dict(plan_of(self).left_out)),
    )
    return slotted


def _slots_of_layers(model: Any, every: tuple[Boundary, ...]) -> dict[str, str]:
    """Name of the boundary of a `flaxdrop.nnx.Dropout` -> its slot."""
    layers = {path: node.slot for path, node in modules_of(model) if isinstance(node, Dropout)}
    return {b.name: layers[b.path] for b in every if b.path in layers}
