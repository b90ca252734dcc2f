"""Places for dropout in a network by name, pattern and group, and what a placement says of them."""

import collections
import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp

from flaxdrop.boundaries.groups import group_names
from flaxdrop.boundaries.patterns import matcher, near_names
from flaxdrop.boundaries.tracing import Boundaries, Boundary
from flaxdrop.placement import Placement, check_placement
from flaxdrop.rate import Ramp, spread_rate


@dataclasses.dataclass(frozen=True)
class Place:
    """A place for dropout in a slotted network.

    Attributes:
      boundary: where it is.
      aliases: names of boundaries that are the same place.
      group: name of its group.
    """

    boundary: Boundary
    aliases: tuple[str, ...]
    group: str

    @property
    def name(self) -> str:
        """As "Block_0/Conv_1:in"."""
        return self.boundary.name

    @property
    def count(self) -> int:
        """How often it is there: the iterations of the scans around it, or 1."""
        return math.prod(self.boundary.shape or ())


@dataclasses.dataclass(frozen=True)
class Setting:
    """What a placement says of a place.

    Attributes:
      slot: the name or pattern by which the placement names it.
      rate: f32, a scalar or one for each iteration of the scans around the place.
      mask: what is dropped together.
    """

    slot: str
    rate: Any
    mask: str


@dataclasses.dataclass(frozen=True)
class Places:
    """All places of a network.

    Attributes:
      network: name of its class, for messages.
      every: the places, in the order of the calls.
      left_out: (name of a boundary, why it takes no dropout).
    """

    network: str
    every: tuple[Place, ...]
    left_out: tuple[tuple[str, str], ...]

    @property
    def slots(self) -> Mapping[str, int]:
        """Group -> number of its places: a repeated block's places are one group."""
        groups: dict[str, int] = {}
        for place in self.every:
            groups[place.group] = groups.get(place.group, 0) + place.count
        return groups

    @property
    def aliases(self) -> Mapping[str, str]:
        """Name of a boundary -> name of the place that it is."""
        return {alias: place.name for place in self.every for alias in place.aliases}

    def settings(self, placement: Placement) -> dict[str, Setting]:
        """Spells a placement out over the places that its names and patterns name.

        Args:
          placement: of groups, of names ("Block_0/Conv_1:in"), of aliases, and of patterns.

        Returns:
          Name of a place -> its setting, in the order of the places.

        Raises:
          ValueError: it is no placement; it names no place, or one place twice; a rate outside
            [0, 1], or another number of rates than places.
        """
        check_placement(placement)
        found: dict[str, Setting] = {}
        for slot in placement.slots:
            places = self.named(slot)
            rate, done = placement.rate(slot), 0
            # A single rate is not cut into parts: all places compute the same with it.
            one = not isinstance(rate, Ramp) and not jnp.ndim(rate)
            rates = spread_rate(slot, rate, 1 if one else sum(place.count for place in places))
            for place in places:
                if place.name in found:
                    raise ValueError(
                        f"placement: place {place.name} is named twice, by"
                        f" {found[place.name].slot!r} and {slot!r}"
                    )
                part = rates if not jnp.ndim(rates) else rates[done : done + place.count]
                part = part[0] if jnp.ndim(part) and place.count == 1 else part
                done += place.count
                found[place.name] = Setting(slot, part, placement.mask(slot))
        return {place.name: found[place.name] for place in self.every if place.name in found}

    def named(self, pattern: str) -> list[Place]:
        """The places that a group, a name or a pattern names.

        Raises:
          ValueError: it names none; the message lists near ones.
        """
        own = [place for place in self.every if place.group == pattern]
        if own:
            return own
        fits = matcher(pattern)
        found = [place for place in self.every if any(map(fits, (place.name, *place.aliases)))]
        if found:
            return found
        reasons = [f"{name} {reason}" for name, reason in self.left_out if fits(name)]
        if reasons:
            raise ValueError(f"placement: {pattern!r} takes no dropout: {reasons[0]}")
        names = [*self.slots, *(place.name for place in self.every), *self.aliases]
        near = near_names(pattern, dict.fromkeys(names)) or list(self.slots)[:5]
        raise ValueError(
            f"placement: {pattern!r} names no place of {self.network}; near it are"
            f" {', '.join(near) or 'none'}"
        )


def find_places(boundaries: Boundaries, is_dropout: Callable[[type], bool]) -> tuple[Place, ...]:
    """Makes places of boundaries: those that are one place are one, and alike ones are a group.

    Args:
      boundaries: of a network.
      is_dropout: whether a class of modules is one of dropout layers.

    Returns:
      The places, in the order of the calls.
    """
    groups = group_names(boundaries.every)
    by_name = {boundary.name: boundary for boundary in boundaries.every}
    sizes = collections.Counter(groups.values())

    def rank(name: str) -> tuple[bool, bool, int]:
        # The best name of a place is before a layer, and one of many alike.
        boundary = by_name[name]
        return is_dropout(boundary.kind), boundary.side != "in", -sizes[groups[name]]

    main_name = {}
    for chain in boundaries.chains:
        known = [name for name in chain if name in by_name]
        main_name.update(dict.fromkeys(known, min(known, key=rank)))
    mains = collections.Counter(
        groups[name] for name in by_name if main_name.get(name, name) == name
    )
    groups_of_places = {}
    for name, group in groups.items():
        if mains[group] > 1:
            groups_of_places[name] = group  # whole, so that its name means what it says
        elif main_name.get(name, name) == name:
            groups_of_places[name] = name if sizes[group] > 1 else group
    aliases = [name for name in by_name if name not in groups_of_places]
    return tuple(
        Place(
            by_name[name],
            tuple(alias for alias in aliases if main_name[alias] == name),
            group,
        )
        for name, group in groups_of_places.items()
    )
