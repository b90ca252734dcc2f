"""One program that measures what the norms of a network see, in training and at inference.

The network is called as at inference. Whether a batch norm normalises by the batch in front of it,
as in training, or by the averages that it is given, as at inference, is data; so are the rates of
dropout. What is measured is written where the network keeps it through `nn.scan` and the like: the
moments of a batch norm in the place of its running statistics, those of other norms among their
"params".
"""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import flax.core
import flax.linen as nn
import jax
import jax.numpy as jnp

from flaxdrop.analysis.norm_inputs import (
    as_immutable,
    batch_moments,
    refuse_second_call,
    uses_running,
    widened,
)
from flaxdrop.analysis.paths import Path, at
from flaxdrop.boundaries.slotted import intercept_layers
from flaxdrop.ops.any_network import fast_convolutions
from flaxdrop.placement import Placement
from flaxdrop.slots import untraced_collection

RENORMALISING = (nn.LayerNorm, nn.RMSNorm, nn.GroupNorm, nn.InstanceNorm)
_STATISTICS = "batch_stats"
_WHAT = ("mean", "var", "epsilon")


@dataclasses.dataclass
class Seen:
    """What a call of the network went through.

    Attributes:
      batch: paths of the batch norms -> whether they use their running statistics.
      others: paths of the norms that normalise every example by itself.
      hidden: of norms that nothing can be written for, as in a scan that shares its parameters.
      dropout: paths of `nn.Dropout` that is on -> (rate, axes that share a mask).
    """

    batch: dict[Path, bool] = dataclasses.field(default_factory=dict)
    others: dict[Path, None] = dataclasses.field(default_factory=dict)
    hidden: dict[Path, None] = dataclasses.field(default_factory=dict)
    dropout: dict[Path, tuple[float, tuple[int, ...]]] = dataclasses.field(default_factory=dict)


def look(
    model: Any, variables: Any, batch: Any, options: Mapping[str, Any], *, inference: bool = False
) -> Seen:
    """Traces a call of a network and says which norms and which dropout it goes through.

    Args:
      model: the network.
      variables: its variables.
      batch: its first argument.
      options: keywords of the call.
      inference: whether a module that asks is told that `batch_stats` is not mutable, by which
        some decide how they are called.
    """
    seen = Seen()
    called: list[tuple[Any, str | None]] = []  # scopes around batch norms, and their names there

    def intercept(call: Any, arguments: Any, keywords: Any, context: Any) -> Any:
        module: Any = context.module
        if context.method_name != "__call__":
            return call(*arguments, **keywords)
        if isinstance(module, nn.BatchNorm):
            refuse_second_call(called, module)
            seen.batch[module.path] = uses_running(module, arguments, keywords)
        if isinstance(module, RENORMALISING):
            own = seen.others if module.is_mutable_collection("params") else seen.hidden
            own[module.path] = None
        with _alone(module):
            out = call(*arguments, **keywords)
        if isinstance(module, nn.Dropout):
            x = arguments[0] if arguments else keywords.get("inputs")
            if out is not x:
                seen.dropout[module.path] = float(module.rate), tuple(module.broadcast_dims)
        return out

    _apply(model, variables, batch, options, {}, intercept, inference=inference, trace=True)
    return seen


@contextlib.contextmanager
def _alone(module: Any) -> Iterator[None]:
    """A batch norm does not average over devices: there is one, and no name for an axis of them."""
    name = module.axis_name if isinstance(module, nn.BatchNorm) else None
    if name is None:
        yield
        return
    # The field of a module that is bound, by force: Flax lets none be set.
    object.__setattr__(module, "axis_name", None)
    try:
        yield
    finally:
        object.__setattr__(module, "axis_name", name)


@dataclasses.dataclass(frozen=True, eq=False)
class Program:
    """Measures the norms of a network; compiled once for all rates, variables and masks.

    Attributes:
      model: takes `placement=`.
      options: keywords of its call at inference.
      frozen: paths of batch norms that training leaves frozen.
    """

    model: Any
    options: Mapping[str, Any]
    frozen: frozenset[Path]

    def __call__(
        self,
        variables: Any,
        batch: Any,
        placement: Placement,
        training: jax.Array,
        key: jax.Array,
    ) -> tuple[Any, Any]:
        """The moments of what the norms see.

        Args:
          variables: of the network.
          batch: its first argument.
          placement: where dropout is on.
          training: whether batch norms use the batch in front of them.
          key: of the masks.

        Returns:
          `batch_stats` with the mean, the variance and the epsilon of every batch norm, and a tree
          like "params" with those of the others.
        """

        def intercept(call: Any, arguments: Any, keywords: Any, context: Any) -> Any:
            module: Any = context.module
            if context.method_name != "__call__":
                return call(*arguments, **keywords)
            if isinstance(module, nn.BatchNorm):
                told = batch_moments(module, arguments, keywords)
                if module.path not in self.frozen:
                    for what in ("mean", "var"):
                        given: Any = module.get_variable(_STATISTICS, what)
                        used = jnp.where(training, told[what].astype(given.dtype), given)
                        module.put_variable(_STATISTICS, what, used)
                out = call(*arguments, **keywords)
                for what, value in told.items():
                    module.put_variable(_STATISTICS, what, value)
                return out
            if isinstance(module, RENORMALISING) and module.is_mutable_collection("params"):
                x = arguments[0] if arguments else next(iter(keywords.values()))
                for what, value in _example_moments(module, x).items():
                    module.put_variable("params", f":{what}", value)
            return call(*arguments, **keywords)

        with fast_convolutions():
            changed = _apply(
                self.model,
                variables,
                batch,
                {**self.options, "placement": placement},
                {"dropout": key, "params": jax.random.fold_in(key, 1)},
                intercept,
                inference=True,
            )
        return changed.get(_STATISTICS, {}), _measured(changed.get("params", {}))


def _apply(
    model: Any,
    variables: Any,
    batch: Any,
    options: Mapping[str, Any],
    rngs: Mapping[str, jax.Array],
    intercept: Callable[..., Any],
    *,
    inference: bool,
    trace: bool = False,
) -> Any:
    variables = flax.core.unfreeze(variables)
    # `nn.jit` would not call again what it traced before.
    mutable = [*variables, "params", untraced_collection()]

    def call(variables: Any, batch: Any, rngs: Any) -> Any:
        asked = as_immutable() if inference else contextlib.nullcontext()
        with asked, intercept_layers(model, intercept):
            _, changed = model.apply(variables, batch, **options, rngs=rngs, mutable=mutable)
        return flax.core.unfreeze(changed)

    if trace:
        keys = {name: jax.random.key(0) for name in ("dropout", "params")}
        return jax.eval_shape(call, variables, batch, keys)
    return call(variables, batch, dict(rngs))


def _example_moments(module: Any, x: jax.Array) -> dict[str, jax.Array]:
    """Mean over the examples of the variance (or mean square) that each is divided by.

    Returns:
      "var": [groups] of a GroupNorm, [channels] of an InstanceNorm, else [1]; "mean" is zero.
    """
    wide = widened(x)
    reduced: Any = getattr(module, "reduction_axes", None)
    if isinstance(module, nn.GroupNorm):
        groups = module.num_groups or x.shape[-1] // int(module.group_size or 1)
        wide, reduced = wide.reshape(len(x), -1, groups, x.shape[-1] // groups), (1, 3)
    elif isinstance(module, nn.InstanceNorm):
        wide, reduced = wide.reshape(len(x), -1, x.shape[-1]), 1
    square = isinstance(module, nn.RMSNorm)
    var = jnp.mean(wide * wide, axis=reduced) if square else jnp.var(wide, axis=reduced)
    by_channel = isinstance(module, nn.GroupNorm | nn.InstanceNorm)
    var = jnp.mean(var, axis=0) if by_channel else jnp.mean(var).reshape(1)
    return {
        "mean": jnp.zeros_like(var),
        "var": var,
        "epsilon": jnp.full((1,), module.epsilon, jnp.float32),
    }


def _measured(params: Any) -> Any:
    """What was written among the parameters, without these."""
    found = {}
    for name, value in params.items():
        if name.startswith(":") and name[1:] in _WHAT:
            found[name[1:]] = value
        elif isinstance(value, Mapping) and (inner := _measured(value)):
            found[name] = inner
    return found


def averages(passes: list[Any], statistics: Any, paths: list[Path]) -> Any:
    """`batch_stats` with the means over some passes in the place of those of batch norms."""
    copied: Any = jax.tree.map(lambda leaf: leaf, flax.core.unfreeze(statistics))
    for path in paths:
        own = at(copied, path)
        for what in ("mean", "var"):
            total = sum(at(moments, path)[what] for moments in passes)
            own[what] = (total / len(passes)).astype(own[what].dtype)
    return copied


def examples(batch: Any) -> int:
    """How many examples a batch has: 0 if it is empty."""
    return min((leaf.shape[0] if leaf.ndim else 0 for leaf in jax.tree.leaves(batch)), default=0)
