"""The variance shift: what a network's batch norms see in training, and what at inference.

In training dropout is on, and a norm divides by the standard deviation of the batch in front of it;
its running statistics come to be the average of those. At inference dropout is off, and the norm
divides by them still. So two passes over one batch are compared:

  training   as the network is called in training: dropout on, norms use the batch's statistics.
             Over several masks, the moments of every norm's input are averaged, as running
             statistics do.
  inference  as it is called at inference: dropout off, every norm uses the averages of the first
             pass in the place of its running statistics.

A norm is an affine map, and upstream it is the same one in both passes: what is compared is what
dropout does, whatever became of the running statistics. So a network need not be trained, and any
placement can be asked of a network that was trained with another. (Statistics of the batch at
inference, too, would hide the shift: each norm would repair it for the next.) Without dropout, the
two passes are one. A norm that training leaves frozen keeps its own statistics in both.
"""

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import flax.core
import flax.linen as nn
import jax
import numpy as np

from flaxdrop.analysis.norm_inputs import Caller
from flaxdrop.analysis.paths import Path, at, beside, name_of
from flaxdrop.analysis.pieces import InPieces
from flaxdrop.analysis.shift import Shift, in_order, shifts_of
from flaxdrop.linen import check_linen
from flaxdrop.ops.any_network import fast_convolutions
from flaxdrop.placement import Placement, check_placement
from flaxdrop.rate import check_rate
from flaxdrop.slots import check_reached, reached_slots


@dataclasses.dataclass(frozen=True)
class Probe:
    """A network made ready to be measured: its passes compile once, for all variables and rates.

    Made by `probe`.

    Attributes:
      norms: paths of its batch norms, in its order.
      unmeasured: paths of what has statistics that shift nothing: spectral norms, of weights, and
        batch norms that are called in training only.
      dropout_layers: slots, or paths of `nn.Dropout`, that can be on.
      placement: the placement that it was made with.
      train: (variables, batch, placement, which are on, key) -> moments.
      infer: (variables, batch) -> moments.
      renormalising: paths of the norms that keep no running statistics.
    """

    norms: tuple[Path, ...]
    unmeasured: tuple[Path, ...]
    dropout_layers: tuple[str, ...]
    placement: Placement | None
    train: Callable[..., Any]
    infer: Callable[..., Any]
    renormalising: frozenset[Path] = frozenset()

    def measure(
        self,
        variables: Any,
        batch: Any,
        placement: Placement | None = None,
        *,
        dropout_layers: Iterable[str] | None = None,
        masks: int = 8,
        least: int = 2,
    ) -> Shift:
        """Measures the shift with all dropout layers on, or with some.

        Args:
          variables: variables of the network, with the shapes that the probe was made with.
          batch: a batch, with the shape that the probe was made with.
          placement: the placement that the probe was made with; its rates may differ.
          dropout_layers: the names, among `dropout_layers`, that are on; None: all.
          masks: number of masks to average over.
          least: how many they must be; 1 where the errors of the shifts, then NaN, do not count.

        Raises:
          ValueError: other slots or masks, a rate outside [0, 1], a dropout layer that the network
            does not have, or has off; too few masks or examples, an input that is not finite, or
            statistics that change in training and are not of an `nn.BatchNorm`.
        """
        examples = min(np.shape(leaf)[0] for leaf in jax.tree.leaves(batch))
        for name, value, lowest in (("masks", masks, least), ("batch", examples, 2)):
            if value < lowest:
                raise ValueError(f"{name}: must be at least {lowest}, got {value}")
        if placement is not None:
            check_placement(placement)
            for slot, rate in placement.rates.items():
                for known in jax.tree.leaves(rate):
                    check_rate(known, f"placement: the rate of {slot!r}")
        if _static(placement) != _static(self.placement):
            raise ValueError(
                "placement: must have the slots and masks that the probe was made with,"
                f" {self.placement}, got {placement}"
            )
        wanted = self.dropout_layers if dropout_layers is None else tuple(dropout_layers)
        for name in wanted:
            if name not in self.dropout_layers:
                known = ", ".join(self.dropout_layers) or "none"
                raise ValueError(
                    f"dropout_layers: must be of those that can be on, {known}, got {name!r}"
                )
        active = {name: np.bool_(name in wanted) for name in self.dropout_layers}
        variables = flax.core.unfreeze(variables)
        trained = [
            jax.device_get(self.train(variables, batch, placement, active, jax.random.key(i)))
            for i in range(masks)
        ]
        self._refuse_others(variables["batch_stats"], trained[0])
        averages = jax.tree.map(_average, *trained)
        for path in self.norms:
            own = at(averages, path)
            if own["frozen"].any():
                own.update(at(variables["batch_stats"], path))
        for path in self.unmeasured:  # so that inference goes from where training did
            at(averages, path).update(at(variables["batch_stats"], path))
        inferred = jax.device_get(self.infer({**variables, "batch_stats": averages}, batch))
        shifts = {
            path: shifts_of(
                path,
                [at(moments, path) for moments in trained],
                at(inferred, path),
                path in self.renormalising,
            )
            for path in self.norms
        }
        return Shift(in_order(shifts), wanted, examples, masks)

    def _refuse_others(self, before: Any, trained: Any) -> None:
        """Refuses a norm of another class: its statistics are not averaged as these are."""
        known = (*self.norms, *self.unmeasured)
        others = beside(before, known)
        for place, leaf in beside(trained, known).items():
            if not np.array_equal(others[place], leaf, equal_nan=True):
                raise ValueError(
                    f"norm {name_of(place[:-1])}: must be an nn.BatchNorm to be measured, got"
                    f" another module, whose {place[-1]} in batch_stats changes in training"
                )


def _static(placement: Placement | None) -> Any:
    return placement and (set(placement.slots), placement.masks)


def _average(*values: np.ndarray) -> np.ndarray:
    inexact = np.issubdtype(values[0].dtype, np.inexact)
    return np.mean(np.stack(values), axis=0) if inexact else values[0]


def probe(
    model: nn.Module,
    variables: Any,
    batch: Any,
    placement: Placement | None = None,
    *,
    training: Mapping[str, Any] | None = None,
    inference: Mapping[str, Any] | None = None,
) -> Probe:
    """Finds the batch norms and dropout layers of a network, to measure it often, compiled once.

    Arguments and errors as in `variance_shift`, which measures once.
    """
    check_linen(model)
    if placement is not None:
        check_placement(placement)
    training = {"train": True} if training is None else dict(training)
    inference = {"train": False} if inference is None else dict(inference)

    def in_training(placement: Placement | None, axes: tuple[str, ...]) -> Caller:
        given = {} if placement is None else {"placement": placement}
        return Caller(model, {**training, **given}, axes)

    at_inference = Caller(model, inference, inference=True)
    variables = flax.core.unfreeze(variables)
    with reached_slots() as reached:
        made = make_probe(at_inference, in_training, variables, batch, placement)
    if placement is not None:
        check_reached(model, placement, reached)
    return made


def make_probe(
    at_inference: Any,
    in_training: Callable[[Placement | None, tuple[str, ...]], Any],
    variables: Any,
    batch: Any,
    placement: Placement | None,
) -> Probe:
    """Makes a network ready to be measured, whichever way it is called.

    Args:
      at_inference: a `Caller`: how the network is called at inference.
      in_training: (placement, names of axes) -> `Caller`: how it is called in training.
      variables: with `batch_stats`, a nested dict with `mean` and `var` of every norm.
      batch: the first argument of the network.
      placement: as in `variance_shift`.

    Raises:
      ValueError: as `variance_shift`.
    """
    keys = _keys(jax.random.key(0))
    found = at_inference.look(variables, batch, keys)
    for path, frozen in found.frozen.items():
        if not frozen:
            raise ValueError(
                f"inference: norm {name_of(path)} uses the batch's statistics, must use the"
                f" running ones; got {at_inference.options}"
            )
    if found.dropout_layers:
        raise ValueError(
            f"inference: dropout {found.dropout_layers[0]} is on, must be off; got"
            f" {at_inference.options}"
        )
    axes = tuple(found.axes)
    caller = in_training(placement, axes)
    seen = caller.look(variables, batch, keys)
    for path in found.norms:
        if path not in seen.norms:
            raise ValueError(
                f"training: norm {name_of(path)} is not called, must be, as at inference; got"
                f" {caller.options}"
            )

    def train(variables: Any, batch: Any, placement: Any, active: Any, key: jax.Array) -> Any:
        with fast_convolutions():
            caller = in_training(placement, axes)
            return caller.measure(variables, batch, _keys(key), active=active)

    def infer(variables: Any, batch: Any) -> Any:
        with fast_convolutions():
            return at_inference.measure(variables, batch, {})

    others = [*seen.weights, *(path for path in seen.norms if path not in found.norms)]
    leaves = beside(variables["batch_stats"], ())
    return Probe(
        norms=tuple(path for path in seen.norms if path in found.norms),
        unmeasured=tuple(
            path for path in others if any(place[: len(path)] == path for place in leaves)
        ),
        dropout_layers=tuple(seen.dropout_layers),
        placement=placement,
        train=InPieces(train),
        infer=InPieces(infer),
        renormalising=frozenset(seen.renormalising),
    )


def variance_shift(
    model: nn.Module,
    variables: Any,
    batch: Any,
    placement: Placement | None = None,
    *,
    training: Mapping[str, Any] | None = None,
    inference: Mapping[str, Any] | None = None,
    masks: int = 8,
) -> Shift:
    """Measures how dropout shifts what the batch norms of a Linen network see.

    The network is not edited: calls of `nn.BatchNorm` are intercepted, also within `nn.scan`,
    `nn.remat` and `nn.jit`. The docstring of this module says what is compared.

    Args:
      model: any Linen network with `nn.BatchNorm`, trained or not.
      variables: its variables, with `batch_stats`.
      batch: its first argument, `[N, ...]`, N at least 2: examples as in training, some hundred.
      placement: passed on in training as `placement=`; None: nothing is, as for networks that have
        `nn.Dropout` inside.
      training: keywords of the call in training; None: `{"train": True}`.
      inference: keywords of the call at inference; None: `{"train": False}`.
      masks: number of masks to average over, at least 2.

    Raises:
      ValueError: no batch norm; a placement that is none, or names an unknown slot; keywords that
        the network does not take, or that leave dropout on or norms unfrozen at inference; too few
        examples or masks; inputs that are not finite; a norm that is called twice or with a mask,
        or only at inference; a module that is no `nn.BatchNorm` and whose `batch_stats` change in
        training, for what stands behind it would be measured wrongly.

    >>> import jax.numpy as jnp
    >>> class Network(nn.Module):
    ...     @nn.compact
    ...     def __call__(self, x, train):
    ...         x = nn.Dropout(0.5, deterministic=not train)(x)
    ...         return nn.BatchNorm(use_running_average=not train)(x)
    >>> x = jax.random.normal(jax.random.key(0), (4096, 8))
    >>> variables = Network().init(jax.random.key(1), x, train=False)
    >>> shift = variance_shift(Network(), variables, x)
    >>> shift.norms[0].norm, round(shift.norms[0].geometric_mean, 1)
    ('BatchNorm_0', 0.5)
    """
    made = probe(model, variables, batch, placement, training=training, inference=inference)
    return made.measure(variables, batch, placement, masks=masks)


def _keys(key: jax.Array) -> dict[str, jax.Array]:
    # Flax derives from "params" what it is asked for under any other name.
    return {"dropout": key, "params": jax.random.fold_in(key, 1)}
