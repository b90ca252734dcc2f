"""The slots of an NNX network as text, in the order of its calls."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from flax import nnx

from flaxdrop.boundaries.places import Place, Setting
from flaxdrop.describe import draw_layout
from flaxdrop.nnx.hooks import variables_of
from flaxdrop.nnx.slots import check_module, is_slotted, plan_of, with_slots
from flaxdrop.placement import Placement
from flaxdrop.rate import print_rate


def describe(
    model: Any, *arguments: Any, placement: Placement | None = None, **options: Any
) -> str:
    """Lists the slots of a network, and the rates that a placement gives them.

    Args:
      model: any NNX network. One that has a `layout` (part -> chain of operations, in which its own
        slots stand in braces, as in "Conv -> {conv1} -> ReLU") is drawn as by `flaxdrop.describe`.
      *arguments: arrays, or their shapes, that it is called with; none for what `with_slots` made.
      placement: None, or what to show.
      **options: keywords of the call.

    Returns:
      A line with the number of parameters, and one for every group of slots, in the order of the
      calls: its name, how many places it has, and where it is on, the rates and the mask.

    Raises:
      ValueError: as `with_slots`; the network cannot follow the placement.

    >>> import jax.numpy as jnp
    >>> rngs = nnx.Rngs(0)
    >>> model = nnx.Sequential(nnx.Linear(8, 8, rngs=rngs), nnx.BatchNorm(8, rngs=rngs))
    >>> print(describe(model, jnp.ones((2, 8)), placement=Placement.parse("layers/1:in=0.1")))
    Sequential: 88 parameters
    layers/0:in   1 place  off
    layers/1:in   1 place  0.1
    layers/1:out  1 place  off
    """
    check_module(model)
    slotted = model if is_slotted(model) else with_slots(model, *arguments, **options)
    plan = plan_of(slotted)
    count = sum(
        math.prod(variable[...].shape)
        for variable in variables_of(slotted).values()
        if isinstance(variable, nnx.Param)
    )
    title = f"{plan.network}: {count:,} parameters"
    layout = getattr(model, "layout", None)
    if isinstance(layout, Mapping):
        return "\n".join([title, *draw_layout(layout, plan.slots, placement)])
    settings = {} if placement is None else plan.settings(placement)
    width = max(map(len, plan.slots), default=0)
    lines = []
    for slot, count in plan.slots.items():
        places = [place for place in plan.every if place.group == slot]
        words = _rates(places, settings)
        lines.append(f"{slot:{width}}  {count} place{'s' if count > 1 else ''}  {words}")
    return "\n".join([title, *lines])


def _rates(places: list[Place], settings: Mapping[str, Setting]) -> str:
    """The rates of a group, as a placement is written: "0.1:channel", "0.1/0.2/off"."""
    words = []
    for place in places:
        setting = settings.get(place.name)
        if setting is None:
            words += ["off"] * place.count
            continue
        mask = "" if setting.mask == "element" else f":{setting.mask}"
        rates = np.broadcast_to(np.asarray(setting.rate), (place.count,))
        words += [print_rate(rate) + mask for rate in rates]
    return words[0] if len(set(words)) == 1 else "/".join(words)
