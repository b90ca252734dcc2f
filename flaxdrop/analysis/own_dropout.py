"""Advice for a network as it stands: whether its dropout is in the right place, and which is."""

from collections.abc import Iterable, Mapping
from typing import Any

import flax.core
import flax.linen as nn

from flaxdrop.analysis.norm_moments import look
from flaxdrop.analysis.paths import Path
from flaxdrop.analysis.ranking import NOTHING, TIE, RankedSlot, Ranking, rank_slots
from flaxdrop.boundaries.groups import has_weights
from flaxdrop.boundaries.slotted import SlottedModel, with_slots
from flaxdrop.calling import mode_options

_NEARLY = 1.25  # of the least shift: a published place is preferred to one that shifts a bit less
_SMALL = 0.005  # a network's shift below it counts as none


def dropout_layers(
    model: Any, variables: Any, batch: Any, training: Mapping[str, Any] | None = None
) -> dict[Path, float]:
    """Finds the `nn.Dropout` layers of a network that are on in training.

    Returns:
      Path of a layer -> its rate, in the order of the calls.
    """
    training = mode_options(model, True) if training is None else training
    found = look(model, flax.core.unfreeze(variables), batch, training)
    return {path: rate for path, (rate, _) in found.dropout.items()}


def rank_own(
    model: nn.Module | SlottedModel,
    variables: Any,
    batch: Any,
    layers: Mapping[Path, float],
    **call: Any,
) -> tuple[Ranking, dict[str, tuple[str, ...]]]:
    """Ranks the places of a network, and says at which of them its dropout stands.

    Takes what `rank_slots` takes, and more.

    Args:
      model: also one that declares slots, whose boundaries are ranked nonetheless.
      layers: the dropout layers that are on, as of `dropout_layers`.

    Returns:
      The ranking, at the highest rate of the layers; and the slot of each place where a layer
      stands -> the names of these layers.
    """
    if layers:
        call = {"rate": max(layers.values()), **call}
    if not isinstance(model, SlottedModel):
        training = call.get("training")
        training = mode_options(model, True) if training is None else training
        model = with_slots(model, batch, **training)
    ranking = rank_slots(model, variables, batch, **call)
    return ranking, standing_at(ranking.model, ("/".join(path) for path in layers))


def standing_at(slotted: Any, layers: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Slot -> names of the dropout layers that stand there, in a network with slots."""
    groups = {place.name: place.group for place in slotted.places}
    standing: dict[str, tuple[str, ...]] = {}
    for name in layers:
        for boundary in (f"{name}:in", f"{name}:out"):
            place = slotted.aliases.get(boundary, boundary)
            if place in groups:
                slot = groups[place]
                standing[slot] = (*standing.get(slot, ()), name)
                break
    return standing


def recommended(ranking: Ranking, slot: str | None = None) -> RankedSlot:
    """The group where dropout shifts least, and is worth something.

    It is one before a layer of weights, as P6 is, if such a one shifts nearly as little as any; of
    those without a shift the nearest to where dropout stands, or the last. Some count only where
    there is nothing else: the first layer's input and the network's output, for dropout there is
    on data, or on scores; and among maps of pixels the places of one pixel, as in a
    squeeze-and-excitation, for dropout there is on the scales of whole channels.

    Args:
      ranking: of the network.
      slot: where dropout stands: groups with about as many places are compared, within a factor
        of two. None: nowhere; then the groups that are repeated most are.
    """
    slots = list(ranking.slots)
    wanted = max(ranked.places for ranked in slots) if slot is None else ranking[slot].places
    alike = [ranked for ranked in slots if wanted / 2 < ranked.places < wanted * 2]
    inner = [ranked for ranked in alike if ranked not in (slots[0], slots[-1])] or alike
    of_maps = _of_maps(ranking.model)
    if slot is None or slot in of_maps:
        inner = [ranked for ranked in inner if ranked.slot in of_maps] or inner
    least = min(map(_measure, inner))
    before_weights = _before_weights(ranking.model)
    at = len(slots) if slot is None else slots.index(ranking[slot])

    def order(ranked: RankedSlot) -> tuple[float, int]:
        size = _measure(ranked)
        return (size if size > _SMALL else 0.0), abs(slots.index(ranked) - at)

    known = [ranked for ranked in inner if ranked.slot in before_weights]
    near = [ranked for ranked in known if _measure(ranked) <= max(least * _NEARLY, _SMALL)]
    return min(near or inner, key=order)


def _measure(ranked: RankedSlot) -> float:
    return ranked.size if ranked.shift.norms else ranked.input_size


def _of_maps(model: Any) -> set[str]:
    """Groups that have several pixels; none where the slots are the network's own."""
    places = getattr(model, "places", ())
    return {place.group for place in places if place.boundary.pixels > 1}


def _before_weights(model: Any) -> set[str]:
    if not getattr(model, "places", ()):  # its slots are its own
        return {"p6", "h4"}
    return {
        place.group
        for place in model.places
        if place.boundary.side == "in" and has_weights(place.boundary.kind)
    }


def stays(ranking: Ranking, slot: str) -> bool:
    """Whether dropout at a group shifts no more than at the recommended one."""
    best = recommended(ranking, slot)
    return ranking[slot].size <= max(best.size * TIE, _SMALL)


def words_of_standing(ranking: Ranking, slot: str, layers: tuple[str, ...]) -> str:
    """Says whether dropout layers at a group are in the right place, and which that is."""
    own, best = ranking[slot], recommended(ranking, slot)
    name = layers[0] if len(layers) == 1 else f"{layers[0]} and {len(layers) - 1} like it"
    verb = "stands" if len(layers) == 1 else "stand"
    where = f"{name} {verb} at {_place_of(ranking, slot, layers)}"
    if not own.shift.norms:
        return f"{where}. No batch norm: {NOTHING}."
    if stays(ranking, slot):
        return f"{where}, the right place: no slot of its kind shifts less than {own.size:.2f}."
    worst = own.shift.worst_first[0]
    return (
        f"{where}, a wrong place: at inference the input of {worst.norm} has"
        f" {worst.geometric_mean:.2g} of the variance of training. Move it to {best.slot}: the"
        f" network's shift falls from {own.size:.2f} to {best.size:.2f}."
    )


def _place_of(ranking: Ranking, slot: str, layers: tuple[str, ...]) -> str:
    """The group, or its places where layers stand, if they are but some of them."""
    aliases = ranking.model.aliases
    places = {
        aliases.get(f"{layer}:{side}", f"{layer}:{side}")
        for layer in layers
        for side in ("in", "out")
    }
    own = [place.name for place in ranking.model.places if place.group == slot]
    some = [name for name in own if name in places]
    return slot if len(some) == len(own) or not some else ", ".join(some)


def words_of_group(ranking: Ranking, slot: str) -> str:
    """Says what dropout would do at a group where there is none."""
    own = ranking[slot]
    place = 1 + [ranked.slot for ranked in ranking.best_first].index(slot)
    order = f"{place} of {len(ranking.slots)}"
    if not own.shift.norms:
        return f"{slot}: no batch norm, {NOTHING}; the other norms see {own.input_size:.2f}."
    best = " Dropout belongs here." if slot == recommended(ranking).slot else ""
    if own.size <= _SMALL:
        return f"{slot} ({order}) would shift no batch norm.{best}"
    worst = own.shift.worst_first[0]
    return (
        f"{slot} ({order}) would shift the network by {own.size:.2f}, {worst.norm} most: at"
        f" inference its input would have {worst.geometric_mean:.2g} of the variance of"
        f" training.{best}"
    )
