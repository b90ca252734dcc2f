"""Every group of places of a network, ranked by the shift that dropout would cause there.

All groups go through one compiled program, for rates are data: one group after the other is on,
and the others have the rate 0. The network is not edited and need not have slots.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import flax.core
import jax
import numpy as np

from flaxdrop.analysis.norm_moments import Program, averages, examples, look
from flaxdrop.analysis.paths import Path, at, beside, in_calling_order, name_of, paths_with
from flaxdrop.analysis.pieces import InPieces
from flaxdrop.analysis.shift import Shift, in_order, shifts_of
from flaxdrop.boundaries.slotted import SlottedModel, with_slots
from flaxdrop.calling import mode_options
from flaxdrop.placement import Placement
from flaxdrop.rate import check_rate
from flaxdrop.slots import declared_slots
from flaxdrop.table import Table

NOTHING = "nothing to shift"
TIE = 1.1  # shifts within this factor are one


@dataclasses.dataclass(frozen=True)
class RankedSlot:
    """What dropout at one group of places does to the norms of a network.

    Attributes:
      slot: the group.
      places: how many it has.
      shift: of the batch norms; without norms where the network has no batch norm.
      renormalised: what the other norms see, likewise: LayerNorm, GroupNorm, RMSNorm. They divide
        every example by its own variance, at inference too; so this is no error at inference.
    """

    slot: str
    places: int
    shift: Shift
    renormalised: Shift

    @property
    def size(self) -> float:
        """Mean absolute log ratio of the batch norms; 0 without them."""
        return self.shift.mean_abs_log_ratio if self.shift.norms else 0.0

    @property
    def input_size(self) -> float:
        """Mean absolute log ratio of what the other norms see; 0 without them."""
        return self.renormalised.mean_abs_log_ratio if self.renormalised.norms else 0.0


@dataclasses.dataclass(frozen=True)
class Ranking:
    """All groups of places of a network.

    Attributes:
      network: its name.
      rate: that every group was measured at.
      slots: in the order of the network.
      model: with slots, as it was measured.
      unmeasured: names of norms that could not be measured.
    """

    network: str
    rate: float
    slots: tuple[RankedSlot, ...]
    model: Any
    unmeasured: tuple[str, ...] = ()

    @property
    def best_first(self) -> tuple[RankedSlot, ...]:
        """The groups, the least shift first; of equal ones, that which changes other norms less."""
        return tuple(sorted(self.slots, key=lambda slot: (round(slot.size, 4), slot.input_size)))

    @property
    def best(self) -> RankedSlot:
        """The group that shifts least."""
        return self.best_first[0]

    @property
    def worst(self) -> RankedSlot:
        """The group that shifts most."""
        return self.best_first[-1]

    def __getitem__(self, slot: str) -> RankedSlot:
        for ranked in self.slots:
            if ranked.slot == slot:
                return ranked
        raise KeyError(slot)

    def table(self) -> Table:
        """All groups, the least shift first."""
        cells = [
            (
                ranked.slot,
                str(ranked.places),
                f"{ranked.size:.3f}" if ranked.shift.norms else "-",
                _worst_norm(ranked.shift),
                f"{ranked.input_size:.3f}" if ranked.renormalised.norms else "-",
            )
            for ranked in self.best_first
        ]
        shift = self.slots[0].shift
        notes = [
            f"{self.network}, rate {self.rate:g}, {shift.examples} examples, {_masks(shift.masks)}."
            " Shift: mean |log (variance at inference / in training)| of the input of the batch"
            " norms; 0 is none.",
        ]
        if self.slots[0].renormalised.norms:
            notes.append(
                "Other norms: the same of LayerNorm, GroupNorm, RMSNorm. They see another variance"
                " too, but renormalise at inference: no error follows."
            )
        if not shift.norms:
            notes.append(f"No batch norm: {NOTHING}.")
        if self.unmeasured:
            notes.append(f"Not measured: {', '.join(self.unmeasured)}.")
        columns = ("slot", "places", "shift", "worst norm", "other norms")
        kept = range(5 if self.slots[0].renormalised.norms else 4)
        rows = tuple(tuple(row[i] for i in kept) for row in cells)
        return Table(tuple(columns[i] for i in kept), rows, tuple(notes))

    def __str__(self) -> str:
        return self.table().text()


def rank_slots(
    model: Any,
    variables: Any,
    batch: Any,
    *,
    rate: float = 0.1,
    training: Mapping[str, Any] | None = None,
    inference: Mapping[str, Any] | None = None,
    masks: int = 1,
) -> Ranking:
    """Measures the shift that dropout would cause at every group of places of a network.

    What is compared says `flaxdrop.analysis.variance_shift`. Dropout that stands in the network is
    off. One compilation serves all groups, and alike blocks are compiled once; each group takes
    `masks` + 1 passes.

    Args:
      model: any Linen network. One that takes `placement=` and declares `slots` is measured at
        these, any other one at the boundaries of its layers (`flaxdrop.with_slots`).
      variables: its variables, trained or not.
      batch: its first argument, `[N, ...]`, N at least 2: examples as in training.
      rate: of dropout, in (0, 1).
      training: keywords of the call in training; None: those that the call is known to have, as
        `train` or `deterministic`.
      inference: likewise at inference.
      masks: how many to average over, at least 1. One is enough where a batch has thousands of
        units a channel; the error of a shift is not known then, and NaN.

    Returns:
      The groups with their shifts.

    Raises:
      ValueError: a network without norms; norms that use the batch at inference, or are called
        twice; one example, no mask; inputs that are not finite.

    >>> import flax.linen as nn, jax.numpy as jnp
    >>> class Network(nn.Module):
    ...     @nn.compact
    ...     def __call__(self, x, train):
    ...         x = nn.Dense(16)(x)
    ...         x = nn.relu(nn.BatchNorm(use_running_average=not train)(x))
    ...         return nn.Dense(3)(x)
    >>> x = jax.random.normal(jax.random.key(0), (256, 8))
    >>> variables = Network().init(jax.random.key(1), x, train=False)
    >>> ranking = rank_slots(Network(), variables, x, rate=0.3)
    >>> [ranked.slot for ranked in ranking.slots if ranked.size > 0.2]
    ['Dense_0:in', 'BatchNorm_0:in']
    >>> [ranked.slot for ranked in ranking.slots if ranked.size == 0]
    ['BatchNorm_0:out', 'Dense_1:in', 'Dense_1:out']
    """
    for name, value, least in (("masks", masks, 1), ("batch", examples(batch), 2)):
        if value < least:
            raise ValueError(f"{name}: must be at least {least}, got {value}")
    check_rate(rate)
    training = mode_options(_inside(model), True) if training is None else training
    inference = mode_options(_inside(model), False) if inference is None else inference
    variables = flax.core.unfreeze(variables)
    if declared_slots(model) is None:
        model = with_slots(model, batch, **training)
    name = type(_inside(model)).__name__
    found = look(model, variables, batch, inference, inference=True)
    if not (found.batch or found.others or found.hidden):
        raise ValueError(f"model: has no norms, {name} has {NOTHING}")
    for path, frozen in found.batch.items():
        if not frozen:
            raise ValueError(
                f"inference: norm {name_of(path)} uses the batch's statistics, must use the running"
                f" ones; got {inference}"
            )
    frozen_too = [path for path, on in look(model, variables, batch, training).batch.items() if on]
    program = InPieces(Program(model, inference, frozenset(frozen_too)))
    slots = dict(model.slots)
    statistics = variables.get("batch_stats", {})

    def measure(placement: Placement, training: bool, key: int, statistics: Any) -> Any:
        given = {**variables, "batch_stats": statistics} if statistics else variables
        return jax.device_get(
            program(given, batch, placement, np.bool_(training), jax.random.key(key))
        )

    def placement(on: str | None) -> Placement:
        return Placement({slot: np.float32(rate * (slot == on)) for slot in slots})

    without = measure(placement(None), True, 0, statistics)
    batch_norms = _paths(found.batch, without[0])
    movable = [path for path in batch_norms if path not in frozen_too]
    others = _paths(found.others, without[1])
    ranked = []
    for slot, places in slots.items():
        trained = [measure(placement(slot), True, 0, statistics)]
        if _equal(trained[0], without):  # no norm is behind it
            trained, inferred = [without] * masks, without
        else:
            trained += [measure(placement(slot), True, i, statistics) for i in range(1, masks)]
            means = averages([moments for moments, _ in trained], statistics, movable)
            inferred = measure(placement(None), False, 0, means)
        both = []
        for part, paths in enumerate((batch_norms, others)):
            shifts = {
                path: shifts_of(
                    path, [at(moments[part], path) for moments in trained], at(inferred[part], path)
                )
                for path in paths
            }
            both.append(Shift(in_order(shifts), (slot,), examples(batch), masks))
        ranked.append(RankedSlot(slot, places, *both))
    unmeasured = {name_of(path) for path in found.hidden if path not in found.others}
    known = [*found.batch, *batch_norms]
    unmeasured |= {name_of(path[:-1]) for path in beside(statistics, known)}
    return Ranking(name, rate, tuple(ranked), model, tuple(sorted(unmeasured)))


def _paths(seen: Mapping[Path, Any], measured: Any) -> list[Path]:
    return in_calling_order(list(seen), paths_with("epsilon", measured))


def _equal(one: Any, other: Any) -> bool:
    return bool(jax.tree.all(jax.tree.map(np.array_equal, one, other)))


def _inside(model: Any) -> Any:
    return model.model if isinstance(model, SlottedModel) else model


def _masks(number: int) -> str:
    return "1 mask" if number == 1 else f"{number} masks"


def _worst_norm(shift: Shift) -> str:
    if not shift.norms or shift.worst_first[0].abs_log_ratio < 5e-4:
        return "-"
    worst = shift.worst_first[0]
    return f"{worst.norm} ({worst.geometric_mean:.2f})"
