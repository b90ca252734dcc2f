"""The variants of a study, and the families of them that one compiled program serves."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from flaxdrop.placement import Placement
from flaxdrop.schedule import schedule_index
from flaxdrop.training.steps import Cell, initial_variables


@dataclasses.dataclass(frozen=True)
class Variant:
    """A row of a study: a network with a placement.

    Attributes:
      model: with `slots`.
      placement: its slots with dropout, and their rates.
      schedule: how its rates change over the training; empty: as in the recipe.
    """

    model: Any
    placement: Placement
    schedule: str = ""


@dataclasses.dataclass(frozen=True)
class Family:
    """Variants that one compiled program serves.

    Attributes:
      model: the network they share.
      placements: variant -> placement, all with the same slots, masks and shapes.
      schedules: variant -> schedule of its rates.
    """

    model: nn.Module
    placements: Mapping[str, Placement]
    schedules: Mapping[str, str]

    def cell(self, variant: str, seed: int) -> Cell:
        """A cell: its key, its placement and its schedule."""
        return Cell(
            key=jax.random.key(seed),
            placement=self.placements[variant],
            schedule=np.int32(schedule_index(self.schedules[variant])),
        )


def families(variants: Mapping[str, Variant], schedule: str = "constant") -> list[Family]:
    """Groups variants by what must be compiled apart: the network, and masks that contradict.

    Every placement of a family names the slots of all of them, at rate 0 where its own does not.

    Args:
      variants: name -> variant.
      schedule: of the variants that have none of their own.
    """
    groups: list[tuple[Any, dict[str, str], dict[str, Placement]]] = []
    for name, variant in variants.items():
        variant.placement.validate(variant.model.slots)
        own = {slot: variant.placement.mask(slot) for slot in variant.placement.slots}
        for model, masks, members in groups:
            if model == variant.model and all(masks.get(s, own[s]) == own[s] for s in own):
                masks.update(own)
                members[name] = variant.placement
                break
        else:
            groups.append((variant.model, own, {name: variant.placement}))
    return [
        Family(
            model,
            _alike(model, masks, members),
            {name: variants[name].schedule or schedule for name in members},
        )
        for model, masks, members in groups
    ]


def _alike(
    model: Any, masks: Mapping[str, str], members: Mapping[str, Placement]
) -> dict[str, Placement]:
    off = Placement(dict.fromkeys(sorted(masks), 0.0), masks)
    return {name: (off | own).broadcast(model.slots) for name, own in members.items()}


def at_rates(
    model: Any, places: Mapping[str, Sequence[str]], rates: Sequence[float]
) -> dict[str, Variant]:
    """No dropout, and every place at every rate, as `names_at_rates` calls them.

    Args:
      model: the network.
      places: place -> slots.
      rates: each in [0, 1].
    """
    return {"none": Variant(model, Placement())} | {
        name: Variant(model, Placement(dict.fromkeys(places[place], rate)))
        for place, own in names_at_rates(places, rates).items()
        for rate, name in own.items()
    }


def names_at_rates(places: Iterable[str], rates: Sequence[float]) -> dict[str, dict[float, str]]:
    """Place -> rate -> name of the variant."""
    return {place: {rate: f"{place} {rate:g}" for rate in rates} for place in places}


def parameter_count(model: nn.Module, input_shape: tuple[int, ...]) -> int:
    """How many trainable parameters a network has."""
    x = jnp.zeros((1, *input_shape))
    shapes = jax.eval_shape(lambda: initial_variables(model, jax.random.key(0), x))
    return sum(leaf.size for leaf in jax.tree.leaves(shapes["params"]))
