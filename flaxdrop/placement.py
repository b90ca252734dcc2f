"""A placement: which slots of a network drop, at what rate, and what is dropped together.

Slots and masks are static, rates are data: a placement is a pytree whose leaves are the rates, so
that one compiled program serves every rate, and rates can be swept, scheduled and stacked.
"""

import dataclasses
import re
from collections.abc import Iterable, Mapping
from typing import Any, Self

import jax
import numpy as np

from flaxdrop.mask import parse_mask
from flaxdrop.rate import parse_rate, print_rate, rate_at, spread_rate

# A slot is a word, or a place of `flaxdrop.with_slots`, or a pattern of places.
_WORD = re.compile(r"([A-Za-z_][A-Za-z_0-9]*|[^\s:=,]+:(?:in|out))\s*=\s*([^:]+)(?::(\w+))?")

# Published placements. Kim et al. 2023 recommend p6 in the branch, h4 in the head; their head's
# rate is 0.2, their branch's is not known to us and 0.1 is ours. Wide ResNet drops at the same
# place.
NAMED = {"none": "", "uai2023": "p6=0.1,h4=0.2", "wide_resnet": "p6=0.1"}


@jax.tree_util.register_pytree_node_class
@dataclasses.dataclass(frozen=True, eq=False)
class Placement:
    """Slot -> rate, with the mask of every slot.

    A rate is a number or an array: a scalar for every block, `[blocks]` for one rate a block, or a
    pair `(first, last)` given as "first..last", linear over the depth of the network.

    Attributes:
      rates: slot -> rate, in [0, 1].
      masks: slot -> mask, where it is not "element".

    >>> placement = Placement.parse("p6=0.1,h4=0.2:channel")
    >>> placement.slots, placement.mask("h4")
    (('p6', 'h4'), 'channel')
    >>> print(placement | Placement.parse("p6=0..0.5"))
    p6=0..0.5,h4=0.2:channel
    """

    rates: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    masks: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Reads "slot=rate[:mask],..." or the name of a published placement.

        Args:
          text: for example "p6=0.1", "conv1=0.2,dense=0.5", "p6=0..0.5" (linear over depth),
            "p3=0.1/0.2/0.3" (block by block), "h4=0.2:channel", or "none", "uai2023",
            "wide_resnet"; "Block_*/Conv_1:in=0.1" for a network of `flaxdrop.with_slots`.

        Raises:
          ValueError: a word that does not read so, a rate outside [0, 1], an unknown mask, a slot
            named twice.
        """
        rates: dict[str, Any] = {}
        masks: dict[str, str] = {}
        text = NAMED.get(text.strip(), text.strip())
        for word in filter(None, (word.strip() for word in text.split(","))):
            match = _WORD.fullmatch(word)
            if not match:
                names = ", ".join(NAMED)
                raise ValueError(
                    f"placement: cannot read {word!r}, write slot=rate[:mask] or one of {names}"
                )
            slot, rate, mask = match.groups()
            if slot in rates:
                raise ValueError(f"placement: slot {slot!r} is named twice in {text!r}")
            rates[slot] = parse_rate(slot, rate)
            if mask:
                masks[slot] = mask
        return cls(rates, masks)

    def __post_init__(self) -> None:
        for slot, mask in self.masks.items():
            parse_mask(mask)
            if slot not in self.rates:
                raise ValueError(f"placement: slot {slot!r} has a mask, but no rate")
        # "element" is what no mask means: one spelling, so that equal placements compare equal.
        masks = {slot: mask for slot, mask in self.masks.items() if mask != "element"}
        object.__setattr__(self, "masks", masks)

    def tree_flatten(self) -> tuple[list[Any], tuple[tuple[str, ...], tuple[tuple[str, str], ...]]]:
        """The rates are the leaves; slots and masks are static."""
        return list(self.rates.values()), (self.slots, tuple(sorted(self.masks.items())))

    @classmethod
    def tree_unflatten(cls, static: Any, leaves: Iterable[Any]) -> Self:
        """The inverse of `tree_flatten`, for leaves of any kind."""
        slots, masks = static
        return cls(dict(zip(slots, leaves, strict=True)), dict(masks))

    def __eq__(self, other: object) -> bool:
        """The same slots in the same order, with the same masks and (known) rates."""
        if not isinstance(other, Placement):
            return NotImplemented
        here: Any = jax.tree.structure(self)
        return here == jax.tree.structure(other) and all(
            map(np.array_equal, jax.tree.leaves(self), jax.tree.leaves(other))
        )

    def __hash__(self) -> int:
        """Equal placements have equal hashes, so a placement can be a static argument or a key.

        Raises:
          TypeError: a rate that is not known, as a traced one.
        """
        rates: list[Any] = []
        for slot, rate in self.rates.items():
            for part in jax.tree.leaves(rate):
                if isinstance(part, jax.core.Tracer | jax.ShapeDtypeStruct):
                    raise TypeError(
                        f"placement: must have known rates to be hashed, that of {slot!r} is traced"
                    )
                values = np.asarray(part, np.float64) + 0.0  # -0 equals 0, but has other bytes
                rates += [values.shape, values.tobytes()]
        return hash((jax.tree.structure(self), *rates))

    def __contains__(self, slot: str) -> bool:
        return slot in self.rates

    def __or__(self, other: "Placement") -> Self:
        """Both placements; where they name the same slot, `other` counts."""
        kept = {slot: mask for slot, mask in self.masks.items() if slot not in other}
        return type(self)({**self.rates, **other.rates}, {**kept, **other.masks})

    def __str__(self) -> str:
        words = (
            f"{slot}={print_rate(rate)}" + (f":{self.masks[slot]}" if slot in self.masks else "")
            for slot, rate in self.rates.items()
        )
        return ",".join(words) or "none"

    @property
    def slots(self) -> tuple[str, ...]:
        """The slots that are named, in order."""
        return tuple(self.rates)

    def rate(self, slot: str) -> Any:
        """The rate of a slot that is named."""
        return self.rates[slot]

    def mask(self, slot: str) -> str:
        """What is dropped together at a slot: "element" unless said otherwise."""
        return self.masks.get(slot, "element")

    def only(self, slots: Iterable[str]) -> Self:
        """The part of the placement that is about `slots`."""
        kept = set(slots)
        return type(self)(
            {slot: rate for slot, rate in self.rates.items() if slot in kept},
            {slot: mask for slot, mask in self.masks.items() if slot in kept},
        )

    def validate(self, slots: Iterable[str]) -> None:
        """Refuses a placement that a network cannot follow.

        Args:
          slots: the network's, `model.slots`.

        Raises:
          ValueError: a slot that is not among them; the message lists the known ones.
        """
        known = tuple(slots)
        for slot in self.slots:
            if slot not in known:
                raise ValueError(
                    f"placement: unknown slot {slot!r}, this network has"
                    f" {', '.join(known) or 'none'}"
                )

    def broadcast(self, slots: Mapping[str, int]) -> Self:
        """Spells the rates of some slots out, a rate for each of their places.

        These slots come first, in the order of `slots`: so the order of writing changes nothing
        where they are all slots of a network. The other slots stay as they are.

        Args:
          slots: slot -> how many places the network has for it; `model.slots`, or a part of it.

        Returns:
          A placement with f32 arrays for these slots: `[places]`, or a scalar for one place.
          Placements with the same slots and masks then have the same structure and shapes.

        Raises:
          ValueError: a known rate outside [0, 1], or a list of rates that is not one for every
            place.

        >>> print(Placement.parse("p6=0..0.5,h4=0.2").broadcast({"p6": 3}))
        p6=0/0.25/0.5,h4=0.2
        """
        spelled = {
            slot: spread_rate(slot, self.rates[slot], places)
            for slot, places in slots.items()
            if slot in self
        }
        others = {slot: rate for slot, rate in self.rates.items() if slot not in spelled}
        return type(self)({**spelled, **others}, self.masks)

    def at(self, block: Any) -> Self:
        """Takes the rates of one block, or of a slice of blocks.

        Args:
          block: the number of the block, from 0, or a slice of blocks; a traced number is not
            checked.

        Returns:
          A placement with the same slots. Where a slot has rates `[blocks]`, it has the rate of
          this block. A slot that is not spelled out over the blocks stays as it is.

        Raises:
          ValueError: a known block that is not there.

        >>> placement = Placement.parse("p6=0..0.5,h4=0.2").broadcast({"p6": 3})
        >>> [str(placement.at(block)) for block in range(3)]
        ['p6=0,h4=0.2', 'p6=0.25,h4=0.2', 'p6=0.5,h4=0.2']
        """
        return type(self)(
            {slot: rate_at(slot, rate, block) for slot, rate in self.rates.items()}, self.masks
        )


def check_placement(placement: Any) -> None:
    """Refuses what is no placement, such as the text of one.

    Raises:
      ValueError: it is none.
    """
    if not isinstance(placement, Placement):
        raise ValueError(
            f"placement: must be a Placement, got {placement!r}; Placement.parse(text) makes one"
        )


def resolve_placement(placement: Placement | None, slots: Mapping[str, int]) -> Placement:
    """Spells out, over all slots of a network, the placement that it was called with.

    Args:
      placement: a placement, or None for one without slots.
      slots: slot -> how many places the network has for it, `model.slots`.

    Returns:
      The placement with a rate for every place, as of `Placement.broadcast`.

    Raises:
      ValueError: it is no placement, or it names a slot that the network does not have; otherwise
        as `Placement.broadcast`.
    """
    placement = Placement() if placement is None else placement
    check_placement(placement)
    placement.validate(slots)
    return placement.broadcast(slots)
