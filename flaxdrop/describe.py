"""A network's slots, drawn as text in the chain of operations around them."""

import math
import textwrap
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from flaxdrop.linen import check_linen
from flaxdrop.placement import Placement, resolve_placement

_WIDTH = 80  # columns of a line


def describe(
    model: Any, placement: Placement | None = None, image_shape: tuple[int, int, int] = (32, 32, 3)
) -> str:
    """Draws a network with its slots, and the rates that a placement gives them.

    Args:
      model: a network with `slots` and `layout`: part -> chain of operations, in which every slot
        stands in braces, as in "Conv -> {conv1} -> ReLU".
      placement: None, or what to draw: `(p6=0.1)` is a slot with a rate, `·p5·` one without.
      image_shape: (H, W, C), what the parameters are counted for.

    Returns:
      A line with the number of parameters and one for every part, folded at 80 columns.

    Raises:
      ValueError: the network cannot follow the placement, or has no `slots` and `layout`; an image
        of another rank.

    >>> from flaxdrop.models import PreResNet
    >>> print(describe(PreResNet(depth=110, num_classes=10), Placement.parse("p6=0.1,h4=0.2")))
    PreResNet: 1,730,522 parameters for images of 32x32x3
    network  depth 110: Conv3x3 -> 3 stages of 18 basic blocks, widths 16-32-64 ->
             head
    block    ·p0· -> [ ·p1· -> BN -> ·p2· -> ReLU -> ·p3· -> Conv3x3 -> ·p4· -> BN
             -> ·p5· -> ReLU -> (p6=0.1) -> Conv3x3 -> ·p7· ] + ·shortcut· ->
             ·post_add·
    head     BN -> ReLU -> (h4=0.2) -> mean over pixels -> ·h5· -> Dense -> ·logits·
    """
    if len(image_shape) != 3 or min(image_shape) < 1:
        raise ValueError(f"image_shape: must be (H, W, C), at least 1 each, got {image_shape}")
    check_linen(model)
    for name in ("slots", "layout"):
        if not isinstance(getattr(model, name, None), Mapping):
            raise ValueError(
                f"model: {type(model).__name__} must have {name}, a property that maps"
                + (" slots to their numbers of places" if name == "slots" else " parts to chains")
            )
    image = "x".join(map(str, image_shape))
    count = f"{_parameters(model, image_shape):,} parameters for images of {image}"
    title = f"{type(model).__name__}: {count}"
    return "\n".join([title, *draw_layout(model.layout, model.slots, placement)])


def draw_layout(
    layout: Mapping[str, str], slots: Mapping[str, int], placement: Placement | None
) -> list[str]:
    """Draws the parts of a network, each a line that is folded at 80 columns.

    Args:
      layout: part -> chain of operations, in which every slot stands in braces.
      slots: slot -> number of places.
      placement: None, or what to draw.

    Raises:
      ValueError: the network cannot follow the placement.
    """
    placement = Placement() if placement is None else placement
    resolve_placement(placement, slots)  # refuses what the network cannot follow
    drawn = {slot: _draw(slot, placement) for slot in slots}
    margin = max(map(len, layout)) + 2
    return [
        textwrap.fill(
            chain.format_map(drawn),
            _WIDTH,
            initial_indent=part.ljust(margin),
            subsequent_indent=" " * margin,
            break_long_words=False,
            break_on_hyphens=False,
        )
        for part, chain in layout.items()
    ]


def _draw(slot: str, placement: Placement) -> str:
    return f"({placement.only([slot])})" if slot in placement else f"·{slot}·"


def _parameters(model: Any, image_shape: tuple[int, int, int]) -> int:
    images = jax.ShapeDtypeStruct((1, *image_shape), jnp.float32)
    params = jax.eval_shape(model.init, jax.random.key(0), images)["params"]
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(params))
