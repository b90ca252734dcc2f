"""Which dropout shifts which batch norm, in words, and where it would shift them less."""

import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import flax.linen as nn
import jax

from flaxdrop.analysis.own_dropout import (
    dropout_layers,
    rank_own,
    recommended,
    stays,
    words_of_group,
    words_of_standing,
)
from flaxdrop.analysis.probing import Probe, probe
from flaxdrop.analysis.ranking import Ranking, rank_slots
from flaxdrop.analysis.shift import Shift
from flaxdrop.boundaries.slotted import SlottedModel
from flaxdrop.linen import check_linen
from flaxdrop.placement import NAMED, Placement, check_placement
from flaxdrop.slots import declared_slots

TOLERANCE = 0.05  # of absolute log ratio: a norm within it counts as unshifted
_TIE = 1.1  # shifts within this factor are one: p5 and p6, say, are one network
_HEAD = {
    "h5": "before the pooling, at h4, its noise would be averaged over the pixels",
    "logits": "on the logits it zeroes scores, not features: h4 is the place in the head",
}


@dataclasses.dataclass(frozen=True)
class Advice:
    """What to do with one dropout layer or slot.

    Attributes:
      dropout: a slot, or the path of an `nn.Dropout`.
      shift: of the network with dropout here alone.
      move_to: the slot that shifts less; None: it may stay, or there is no such slot.
      size: the network's shift with the dropout there; as it is where it stays.
      words: what it shifts, and what to do.
    """

    dropout: str
    shift: Shift = dataclasses.field(repr=False)
    move_to: str | None
    size: float
    words: str

    def __str__(self) -> str:
        return self.words


def advise(
    model: nn.Module,
    variables: Any,
    batch: Any,
    placement: Placement | None = None,
    *,
    training: Mapping[str, Any] | None = None,
    inference: Mapping[str, Any] | None = None,
    masks: int | None = None,
) -> tuple[Advice, ...]:
    """Measures each dropout alone and, where it shifts a norm, looks for a better slot.

    The slots of its own kind are tried, with its rate and mask: those of the blocks, or those of
    the head (as many places each). Where several shift as little, a published one (p6, h4) is
    named, else the one nearest to where it is.

    Without a placement, the advice is on the `nn.Dropout` of the network, alike layers together:
    whether they stand in the right place, and at which boundary of the network they would
    (`flaxdrop.with_slots` names these). A network without dropout gets one advice a place,
    the least shift first (`flaxdrop.analysis.rank_slots`). One that declares slots gets one for
    each of these, behind those on the `nn.Dropout` that it has besides.

    Arguments and errors are those of `flaxdrop.analysis.variance_shift`. What is on in training is
    measured; each measurement takes `masks` + 1 passes, and so does every slot that is tried. So
    the default is fewer masks, 2, and 1 without a placement. They are enough to detect a shift
    with some hundred examples.

    Returns:
      An advice for each.

    Raises:
      ValueError: also where a placement is given and no dropout is on in training, and for a
        network without norms: it has nothing to shift.

    >>> import jax, jax.numpy as jnp
    >>> from flaxdrop.models import PreResNet
    >>> model = PreResNet(depth=6, num_classes=10, widths=(8,))
    >>> x = jax.random.normal(jax.random.key(0), (32, 8, 8, 3))
    >>> variables = jax.jit(model.init)(jax.random.key(1), x)
    >>> [advice] = advise(model, variables, x, Placement.parse("p4=0.3"), masks=2)
    >>> advice.move_to
    'p6'
    """
    check_linen(model)
    call = {"training": training, "inference": inference}
    if placement is None:
        options = {**call, "masks": 1 if masks is None else masks}
        return _as_it_stands(model, variables, batch, options)
    masks = 2 if masks is None else masks

    def probe_of(placement: Placement | None) -> Probe:
        return probe(model, variables, batch, placement, **call)

    name, slots = type(model).__name__, declared_slots(model)
    if slots and isinstance(model, SlottedModel) and not slots.keys() >= set(placement.slots):
        slots = None  # it names places or patterns: no group is like them
    return advise_by(probe_of, name, slots, variables, batch, placement, masks)


def advise_by(
    probe_of: Callable[[Placement | None], Probe],
    name: str,
    slots: Mapping[str, int] | None,
    variables: Any,
    batch: Any,
    placement: Placement,
    masks: int,
) -> tuple[Advice, ...]:
    """`advise` under a placement, for a network that is made ready to be measured by `probe_of`.

    Takes what `advise` takes, and more.

    Args:
      probe_of: placement -> `Probe`.
      name: of the network's class.
      slots: slot -> number of places, among which a better one is looked for; None: in words.
    """
    check_placement(placement)
    if not placement.slots:
        raise ValueError("placement: must name a slot, got none; there is nothing to advise on")
    if slots is None:
        made = probe_of(placement)
        if not made.dropout_layers:
            raise ValueError(
                f"model: must have dropout that is on in training, {name} has"
                " none; an nn.Dropout, or a flaxdrop.Dropout that the placement names"
            )
        measure = functools.partial(made.measure, variables, batch, placement, masks=masks)
        return tuple(_in_words(measure(dropout_layers=[name])) for name in made.dropout_layers)
    placement.validate(slots)
    found = []
    probes: dict[Any, Probe] = {}  # slots of one kind and mask share a compilation
    for slot in placement.slots:
        own = placement.only([slot])
        candidates = tuple(_candidates(probe_of, slots, own))
        every = _everywhere(own, slot, candidates)
        kind = jax.tree.structure(every)
        if kind not in probes:
            probes[kind] = probe_of(every)
        made = probes[kind]
        found.append(_among_slots(made, variables, batch, every, slot, candidates, masks))
    return tuple(found)


def _as_it_stands(
    model: Any, variables: Any, batch: Any, call: dict[str, Any]
) -> tuple[Advice, ...]:
    layers = dropout_layers(model, variables, batch, call["training"])
    found: tuple[Advice, ...] = ()
    declares = declared_slots(model) is not None and not isinstance(model, SlottedModel)
    if layers or not declares:
        found = advise_by_ranking(*rank_own(model, variables, batch, layers, **call))
    if declares:
        found += advise_by_ranking(rank_slots(model, variables, batch, **call), {})
    return found


def advise_by_ranking(
    ranking: Ranking, standing: Mapping[str, tuple[str, ...]]
) -> tuple[Advice, ...]:
    """Advice on the dropout layers of a network; without any, on every place where it could be.

    Args:
      ranking: of the network's slots.
      standing: slot -> the dropout layers that stand there.
    """
    found = []
    for slot in [ranked.slot for ranked in ranking.slots if ranked.slot in standing]:
        best = recommended(ranking, slot)
        stay = stays(ranking, slot) or not ranking[slot].shift.norms
        found.append(
            Advice(
                standing[slot][0],
                ranking[slot].shift,
                None if stay else best.slot,
                ranking[slot].size if stay else best.size,
                words_of_standing(ranking, slot, standing[slot]),
            )
        )
    if found:
        return tuple(found)
    return tuple(
        Advice(ranked.slot, ranked.shift, None, ranked.size, words_of_group(ranking, ranked.slot))
        for ranked in ranking.best_first
    )


def _everywhere(own: Placement, slot: str, slots: tuple[str, ...]) -> Placement:
    return Placement(dict.fromkeys(slots, own.rate(slot)), dict.fromkeys(slots, own.mask(slot)))


def _candidates(
    probe_of: Callable[[Placement | None], Probe], slots: Mapping[str, int], own: Placement
) -> Iterator[str]:
    (slot,) = own.slots
    for other, places in slots.items():
        if places != slots[slot]:
            continue
        if other != slot and own.mask(slot) != "element":
            try:
                probe_of(_everywhere(own, slot, (other,)))
            except ValueError:
                continue  # the mask does not fit there, as "block" behind the pooling
        yield other


def _among_slots(
    made: Probe,
    variables: Any,
    batch: Any,
    every: Placement,
    slot: str,
    slots: tuple[str, ...],
    masks: int,
) -> Advice:
    measure = functools.partial(made.measure, variables, batch, every, masks=masks)
    own = measure(dropout_layers=[slot] if slot in made.dropout_layers else [])
    if slot not in made.dropout_layers or _largest(own) <= TOLERANCE:
        words = f"{slot} shifts no batch norm"
        words += f"; {_HEAD[slot]}." if slot in _HEAD and "h4" in slots else ": it may stay."
        return _staying(slot, own, words)
    if _renormalised(own):
        return _staying(slot, own, _normalised_again(own))
    others = [other for other in slots if other != slot and other in made.dropout_layers]
    sizes = {other: measure(dropout_layers=[other]).mean_abs_log_ratio for other in others}
    best = min(sizes.values(), default=own.mean_abs_log_ratio)
    if best * _TIE >= own.mean_abs_log_ratio:
        words = (
            f"{_shifted(own)} No slot of its kind shifts less: a lower rate would, and"
            " recalibrating repairs it."
        )
        return _staying(slot, own, words)
    published = {name for text in NAMED.values() for name in Placement.parse(text).slots}
    ties = [other for other, size in sizes.items() if size <= best * _TIE]
    place = slots.index(slot)
    move_to = min(ties, key=lambda other: (other not in published, abs(slots.index(other) - place)))
    words = (
        f"{_shifted(own)} Move it to {move_to}: the network's shift falls from"
        f" {own.mean_abs_log_ratio:.2f} to {sizes[move_to]:.2f}."
    )
    return Advice(slot, own, move_to, sizes[move_to], words)


def _staying(name: str, own: Shift, words: str) -> Advice:
    return Advice(name, own, None, own.mean_abs_log_ratio, words)


def _in_words(own: Shift) -> Advice:
    (name,) = own.dropout_layers
    if _largest(own) <= TOLERANCE:
        return _staying(name, own, f"{name} shifts no batch norm: it may stay.")
    if _renormalised(own):
        return _staying(name, own, _normalised_again(own))
    last = [norm for norm in own.harmed if norm.abs_log_ratio > TOLERANCE][-1]
    words = (
        f"{_shifted(own)} Behind {last.norm} it would shift none of these; if that is too late, put"
        " it between the last batch norm of its branch and the weight after that."
    )
    return _staying(name, own, words)


def _largest(shift: Shift) -> float:
    return max(norm.abs_log_ratio for norm in shift.harmed)


def _renormalised(shift: Shift) -> bool:
    return all(norm.renormalises for norm in shift.norms)


def _normalised_again(shift: Shift) -> str:
    (name,) = shift.dropout_layers
    worst = shift.worst_first[0]
    return (
        f"{name} changes what norms see, {worst.norm} most: at inference its input has"
        f" {worst.geometric_mean:.2g} of the variance of training. The norms of this network keep"
        " no running statistics, and normalise it again at inference: it may stay."
    )


def _shifted(shift: Shift) -> str:
    (name,) = shift.dropout_layers
    count = sum(norm.abs_log_ratio > TOLERANCE for norm in shift.harmed)
    worst = max(shift.harmed, key=lambda norm: norm.abs_log_ratio)
    return (
        f"{name} shifts {count} of {len(shift.harmed)} batch norms, {worst.norm} most: at inference"
        f" its input has {worst.geometric_mean:.2g} of the variance of training."
    )
