"""The measurements of `flaxdrop.analysis` for networks of NNX, under the same names."""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

import jax
from flax import nnx

from flaxdrop.analysis.advice import Advice, advise_by, advise_by_ranking
from flaxdrop.analysis.masked import check_examples
from flaxdrop.analysis.own_dropout import standing_at
from flaxdrop.analysis.paths import name_of
from flaxdrop.analysis.probing import Probe, make_probe
from flaxdrop.analysis.ranking import RankedSlot, Ranking
from flaxdrop.analysis.recalibration import repairer
from flaxdrop.analysis.shift import Shift
from flaxdrop.analysis.uncertainty import Prediction, predict
from flaxdrop.calling import naming_call
from flaxdrop.nnx.dropout import Dropout
from flaxdrop.nnx.hooks import modules_of
from flaxdrop.nnx.norm_inputs import Caller, set_statistics, variables_for
from flaxdrop.nnx.slots import check_module, is_slotted, plan_of, with_plan, with_slots
from flaxdrop.placement import Placement, check_placement
from flaxdrop.rate import check_rate


def variance_shift(
    model: Any,
    batch: Any,
    placement: Placement | None = None,
    *,
    training: Mapping[str, Any] | None = None,
    inference: Mapping[str, Any] | None = None,
    masks: int = 8,
) -> Shift:
    """Measures how dropout shifts what the norms of an NNX network see.

    As `flaxdrop.analysis.variance_shift`, which says what is compared. The network is measured
    after `train()` and after `eval()`, on a copy: it stays as it is. Norms that keep no running
    statistics (LayerNorm, RMSNorm, GroupNorm, InstanceNorm) are measured too. What they see
    changes, and they normalise it again at inference.

    Other arguments and errors are those of `flaxdrop.analysis.variance_shift`.

    Args:
      model: any NNX network with norms, trained or not.
      placement: slots of `with_slots`, or of layers `flaxdrop.nnx.Dropout`; None: nothing beside
        the `nnx.Dropout` inside.
      training: more keywords of the call in training; None: none.
      inference: likewise at inference.

    >>> class Network(nnx.Module):
    ...     def __init__(self, rngs):
    ...         self.drop = nnx.Dropout(0.5, rngs=rngs)
    ...         self.norm = nnx.BatchNorm(8, rngs=rngs)
    ...     def __call__(self, x):
    ...         return self.norm(self.drop(x))
    >>> x = jax.random.normal(jax.random.key(0), (4096, 8))
    >>> shift = variance_shift(Network(nnx.Rngs(0)), x)
    >>> shift.norms[0].norm, round(shift.norms[0].geometric_mean, 1)
    ('norm', 0.5)
    """
    made, variables = _probe(model, batch, placement, training, inference)
    return made.measure(variables, batch, placement, masks=masks)


def advise(
    model: Any,
    batch: Any,
    placement: Placement | None = None,
    *,
    training: Mapping[str, Any] | None = None,
    inference: Mapping[str, Any] | None = None,
    masks: int | None = None,
) -> tuple[Advice, ...]:
    """Measures each dropout alone and, where it shifts a norm, looks for a better slot.

    As `flaxdrop.analysis.advise`. For slots of layers `flaxdrop.nnx.Dropout`, other slots of layers
    are tried; for slots of `with_slots`, other groups with as many places. Without a placement the
    advice is on the `nnx.Dropout` of the network, or, where it has none, on every slot.

    Arguments and errors are those of `variance_shift`.

    Returns:
      An advice for each.

    >>> class Block(nnx.Module):
    ...     def __init__(self, rngs):
    ...         self.dense = nnx.Linear(8, 8, rngs=rngs)
    ...         self.norm = nnx.BatchNorm(8, rngs=rngs)
    ...     def __call__(self, x):
    ...         return self.norm(self.dense(x))
    >>> x = jax.random.normal(jax.random.key(0), (256, 8))
    >>> [advice] = advise(Block(nnx.Rngs(0)), x, Placement.parse("norm:in=0.3"))
    >>> advice.move_to
    'norm:out'
    """
    call = {"training": training, "inference": inference}
    slotted = _slotted(model, batch, inference)
    if placement is None:
        own = _probe(slotted, batch, None, **call)[0].dropout_layers
        layers: dict[str, Any] = {name_of(path): node for path, node in modules_of(slotted)}
        rate = max((layers[name].rate for name in own), default=0.1)
        ranking = rank_slots(slotted, batch, rate=rate, masks=1 if masks is None else masks, **call)
        return advise_by_ranking(ranking, standing_at(slotted, own))
    check_placement(placement)
    variables = variables_for(slotted)

    def probe_of(placement: Placement | None) -> Probe:
        return _probe(slotted, batch, placement, **call)[0]

    name, slots = type(slotted).__name__, _alike(slotted, placement)
    masks = 2 if masks is None else masks
    return advise_by(probe_of, name, slots, variables, batch, placement, masks)


def rank_slots(
    model: Any,
    batch: Any,
    *,
    rate: float = 0.1,
    training: Mapping[str, Any] | None = None,
    inference: Mapping[str, Any] | None = None,
    masks: int = 1,
) -> Ranking:
    """Measures the shift that dropout would cause at every slot of an NNX network.

    As `flaxdrop.analysis.rank_slots`. The `nnx.Dropout` of the network is off. One compilation
    serves all slots.

    Arguments and errors are those of `variance_shift`, and `rate`, of dropout, in (0, 1).

    Returns:
      The slots with their shifts.

    >>> class Block(nnx.Module):
    ...     def __init__(self, rngs):
    ...         self.dense = nnx.Linear(8, 8, rngs=rngs)
    ...         self.norm = nnx.BatchNorm(8, rngs=rngs)
    ...     def __call__(self, x):
    ...         return self.norm(self.dense(x))
    >>> x = jax.random.normal(jax.random.key(0), (256, 8))
    >>> rank_slots(Block(nnx.Rngs(0)), x).best.slot
    'norm:out'
    """
    check_rate(rate)
    slotted = _slotted(model, batch, inference)
    slots = slotted.slots
    every = Placement(dict.fromkeys(slots, rate))
    made, variables = _probe(slotted, batch, every, training, inference)
    ranked = []
    for slot, places in slots.items():
        on = [slot] if slot in made.dropout_layers else []
        whole = made.measure(variables, batch, every, dropout_layers=on, masks=masks, least=1)
        shift, renormalised = (
            dataclasses.replace(
                whole,
                norms=tuple(norm for norm in whole.norms if norm.renormalises == wanted),
                dropout_layers=(slot,),
            )
            for wanted in (False, True)
        )
        ranked.append(RankedSlot(slot, places, shift, renormalised))
    return Ranking(type(slotted).__name__, rate, tuple(ranked), slotted)


def recalibrate(
    model: Any, batches: Iterable[Any], *, inference: Mapping[str, Any] | None = None
) -> None:
    """Sets the running statistics of every batch norm to the moments of its input over `batches`.

    As `flaxdrop.analysis.recalibrate`, in place: the network is measured as after `eval()`, so
    dropout is off, and the statistics of its `nnx.BatchNorm` are replaced.

    Args:
      model: any NNX network with `nnx.BatchNorm`.
      batches: its first arguments, `[N, ...]`; training examples, in batches as large as can be.
      inference: more keywords of the call at inference.

    Raises:
      ValueError: no batches, an array in their place, no batch norm, inputs that are not finite,
        another module with running statistics, or no NNX module.

    >>> import jax.numpy as jnp
    >>> norm = nnx.BatchNorm(1, rngs=nnx.Rngs(0))
    >>> x = jnp.arange(6.0).reshape(6, 1)
    >>> recalibrate(norm, [x[:4], x[4:]])
    >>> norm.mean[...]
    Array([2.5], dtype=float32)
    """
    check_module(model)
    variables = variables_for(model)
    if not variables["batch_stats"]:
        raise ValueError(f"model: must have an nnx.BatchNorm, {type(model).__name__} has none")

    def caller_for(batch: Any) -> Caller:
        slotted = _slotted(model, batch, inference)
        return Caller(nnx.graphdef(slotted), dict(inference or {}), inference=True)

    repaired = repairer(caller_for)(variables, batches)
    set_statistics(model, repaired["batch_stats"])


def mc_predict(
    model: Any,
    x: jax.Array,
    placement: Placement,
    *,
    key: jax.Array,
    samples: int,
    inference: Mapping[str, Any] | None = None,
) -> Prediction:
    """Predicts with dropout on and norms at inference, over many masks (Gal, Ghahramani 2016).

    The network is called as after `eval()`, on a copy. Arguments and errors are those of
    `flaxdrop.analysis.mc_predict`, without variables; the placement names slots of `with_slots`, or
    of layers `flaxdrop.nnx.Dropout`.

    Returns:
      Probabilities, and the uncertainty of each.

    >>> import jax.numpy as jnp
    >>> head, x = nnx.Linear(8, 3, rngs=nnx.Rngs(0)), jnp.ones((2, 8))
    >>> class Network(nnx.Module):
    ...     def __init__(self):
    ...         self.head = head
    ...     def __call__(self, x):
    ...         return self.head(x)
    >>> placement = Placement.parse("head:in=0.5")
    >>> found = mc_predict(Network(), x, placement, key=jax.random.key(1), samples=20)
    >>> found.probabilities.shape, bool((found.mutual_information > 0).all())
    ((2, 3), True)
    """
    if samples < 1:
        raise ValueError(f"samples: must be at least 1, got {samples}")
    check_placement(placement)
    check_examples(x)
    graph, state = nnx.split(_slotted(model, x, inference))

    def apply(key: jax.Array) -> Any:
        network = nnx.merge(graph, jax.tree.map(lambda leaf: leaf, state))  # new Variables, of here
        network.eval()
        return network(x, placement=placement, key=key, **(inference or {}))

    shape = jax.eval_shape(apply, key)
    if not hasattr(shape, "shape"):
        raise ValueError(f"model: must return logits [N, K], got a {type(shape).__name__}")
    return predict(apply, shape.shape, x, placement, key, samples)


def _slotted(model: Any, batch: Any, options: Mapping[str, Any] | None) -> Any:
    """The network with slots, found as at inference: no dropout layer needs a key there."""
    check_module(model)
    if is_slotted(model):
        return model
    graph, state = nnx.split(model)
    quiet = nnx.merge(graph, state)
    quiet.eval()
    with naming_call("options", 'inference={"train": False}'):
        plan = plan_of(with_slots(quiet, batch, **(options or {})))
    return with_plan(model, plan)


def _probe(
    model: Any,
    batch: Any,
    placement: Placement | None,
    training: Mapping[str, Any] | None,
    inference: Mapping[str, Any] | None,
) -> tuple[Probe, Any]:
    if placement is not None:
        check_placement(placement)
    slotted = _slotted(model, batch, inference)
    if placement is not None:
        plan_of(slotted).settings(placement)  # refuses what names no place
    graph = nnx.graphdef(slotted)

    def in_training(placement: Placement | None, axes: tuple[str, ...]) -> Caller:
        return Caller(graph, dict(training or {}), placement, axes)

    variables = variables_for(slotted)
    at_inference = Caller(graph, dict(inference or {}), inference=True)
    return make_probe(at_inference, in_training, variables, batch, placement), variables


def _alike(slotted: Any, placement: Placement) -> Mapping[str, int] | None:
    """The groups among which there may be a better one; None: the placement names no groups."""
    layers = {place.group for place in slotted.places if place.boundary.kind is Dropout}
    kinds = {slot in layers for slot in placement.slots}
    if not set(placement.slots) <= set(slotted.slots):
        return None
    return {slot: places for slot, places in slotted.slots.items() if (slot in layers) in kinds}
