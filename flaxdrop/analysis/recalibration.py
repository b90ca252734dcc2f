"""Repairs a shift after training: running statistics measured anew, with dropout off."""

import functools
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import flax.core
import flax.linen as nn
import jax
import numpy as np

from flaxdrop.analysis.norm_inputs import Caller, Pass
from flaxdrop.analysis.paths import Path, at, beside, name_of
from flaxdrop.linen import check_linen


def recalibrate(
    model: nn.Module,
    variables: Any,
    batches: Iterable[Any],
    *,
    inference: Mapping[str, Any] | None = None,
) -> Any:
    """Sets the running statistics of every batch norm to the moments of its input over `batches`.

    The network is called as at inference, so dropout is off. While it is measured, each norm uses
    the statistics of the batch in front of it, as in training: so the result does not depend on
    the running statistics that were there, and to do it twice changes nothing. The moments are
    pooled exactly, each example counting the same: E[x], and E[x^2] - E[x]^2 of all of them, which
    is the biased variance that Flax keeps; no moving average.

    Args:
      model: any Linen network with `nn.BatchNorm`.
      variables: its variables, with `batch_stats`.
      batches: its first arguments, `[N, ...]`; training examples, in batches as large as can be.
      inference: keywords of the call at inference; None: `{"train": False}`.

    Returns:
      Variables like `variables`, with new `batch_stats`.

    Raises:
      ValueError: no batches, an array in their place, no batch norm, inputs that are not finite, or
        a norm with statistics that is no `nn.BatchNorm`.

    >>> import jax.numpy as jnp
    >>> norm = nn.BatchNorm(use_running_average=True)
    >>> x = jnp.arange(6.0).reshape(6, 1)
    >>> variables = norm.init(jax.random.key(0), x)
    >>> recalibrate(norm, variables, [x[:4], x[4:]], inference={})["batch_stats"]["mean"]
    array([2.5], dtype=float32)
    """
    return recalibrator(model, inference=inference)(variables, batches)


def recalibrator(
    model: nn.Module, *, inference: Mapping[str, Any] | None = None
) -> Callable[[Any, Iterable[Any]], Any]:
    """`recalibrate` for many variables of one network, which is compiled once.

    Returns:
      A function (variables, batches) -> variables.
    """
    check_linen(model)
    options = {"train": False} if inference is None else inference
    return repairer(lambda _: Caller(model, options, inference=True))


def repairer(caller_for: Callable[[Any], Any]) -> Callable[[Any, Iterable[Any]], Any]:
    """`recalibrator` for a network that is called by a `Caller`, made for its first batch."""
    measure: Any = None
    paths: list[Path] = []

    def repair(variables: Any, batches: Iterable[Any]) -> Any:
        nonlocal measure
        if isinstance(batches, np.ndarray | jax.Array):
            raise ValueError(
                f"batches: must be batches, got an array of shape {batches.shape}; [x] is one batch"
            )
        variables = flax.core.unfreeze(variables)
        count = 0
        means: dict[Path, np.ndarray] = {}
        squares: dict[Path, np.ndarray] = {}  # summed, about the mean
        for batch in batches:
            if measure is None:
                caller = caller_for(batch)
                found = caller.look(variables, batch, {})
                _refuse_others(variables["batch_stats"], found)
                paths.extend(found.norms)
                measure = jax.jit(functools.partial(caller.measure, keys={}, first=True))
            examples = min(np.shape(leaf)[0] for leaf in jax.tree.leaves(batch))
            measured = jax.device_get(measure(variables, batch))
            for path in paths:
                moments = at(measured, path)
                mean, variance = (np.asarray(moments[name], np.float64) for name in ("mean", "var"))
                if not (np.isfinite(mean).all() and np.isfinite(variance).all()):
                    raise ValueError(f"norm {name_of(path)}: its input must be finite, is not")
                # Chan, Golub and LeVeque 1979.
                known = means.get(path, np.zeros_like(mean))
                gap = mean - known
                squares[path] = squares.get(path, np.zeros_like(mean)) + examples * (
                    variance + gap**2 * count / (count + examples)
                )
                means[path] = known + gap * examples / (count + examples)
            count += examples
        if not count:
            raise ValueError("batches: are none, must be at least one")
        statistics = jax.tree.map(lambda leaf: leaf, variables["batch_stats"])  # a copy
        for path in paths:
            own = at(statistics, path)
            for name, value in (("mean", means[path]), ("var", squares[path] / count)):
                own[name] = value.astype(own[name].dtype)
        return {**variables, "batch_stats": statistics}

    return repair


def _refuse_others(statistics: Any, found: Pass) -> None:
    """A module that is called keeps statistics, and would keep these."""
    for place in beside(statistics, {*found.norms, *found.weights}):
        around = {place[:i] for i in range(len(place))}
        if place[:-1] in found.called or around & found.bridged:
            raise ValueError(
                f"norm {name_of(place[:-1])}: must be an nn.BatchNorm to be measured, got another"
                f" module with {place[-1]} in batch_stats"
            )
