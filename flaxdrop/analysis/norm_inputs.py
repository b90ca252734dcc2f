"""What the batch norms of a network are given, measured from outside by intercepting their calls.

The moments of a norm's input are written where its running statistics are, and what else is asked
of the norm beside them: the network threads these through `nn.scan`, `nn.remat` and the like
already, or it could not be trained.
"""

import contextlib
import dataclasses
import functools
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import flax.core
import flax.linen as nn
import jax
import jax.numpy as jnp

from flaxdrop.analysis.paths import Path, in_calling_order, name_of, paths_with
from flaxdrop.dropout import Dropout
from flaxdrop.slots import untraced_collection
from flaxdrop.slotted import intercept_layers

_STATISTICS = "batch_stats"
_MARK = "epsilon"  # what an intercepted norm has among its statistics, and no other module


@dataclasses.dataclass
class Pass:
    """The modules that a pass of the network went through.

    Attributes:
      norms: paths of the norms, in the order of the network.
      frozen: path -> whether the norm uses its running statistics; of norms that `nn.jit` traces
        once, for the first.
      dropouts: those that were on: a slot's name for `flaxdrop.Dropout`, which may stand for many
        places; the module's path for `nn.Dropout`.
      axes: names of axes that norms average over.
      called: paths of all modules that were, and of them `bridged`, whose insides are of NNX.
      weights: paths of `nn.SpectralNorm`, whose statistics are of weights alone.
    """

    norms: list[Path] = dataclasses.field(default_factory=list)
    frozen: dict[Path, bool] = dataclasses.field(default_factory=dict)
    dropouts: list[str] = dataclasses.field(default_factory=list)
    axes: list[str] = dataclasses.field(default_factory=list)
    called: set[Path] = dataclasses.field(default_factory=set)
    bridged: set[Path] = dataclasses.field(default_factory=set)
    weights: set[Path] = dataclasses.field(default_factory=set)


@dataclasses.dataclass(frozen=True)
class Caller:
    """A network together with how it is called.

    Attributes:
      model: the network.
      options: keywords of the call.
      axes: names of axes that it wants to average over; there will be one example of each.
      inference: whether a module that asks is told that `batch_stats` is not mutable, by which some
        decide how they are called.
    """

    model: nn.Module
    options: Mapping[str, Any]
    axes: tuple[str, ...] = ()
    inference: bool = False

    def look(self, variables: Any, batch: Any, keys: Mapping[str, jax.Array]) -> Pass:
        """Traces a pass and tells what it goes through, without computing anything.

        Raises:
          ValueError: there are no batch statistics, the network is not called like that, or a norm
            is used in a way that cannot be measured.
        """
        if not variables.get(_STATISTICS):
            raise ValueError(
                "variables: have no batch_stats; the network has no batch norm, or they were"
                " left out"
            )
        found = Pass()
        measure = functools.partial(self._measure, found=found, first=False, active=None)
        try:
            moments = jax.eval_shape(measure, variables, batch, keys)
        except TypeError as error:
            if "unexpected keyword" not in str(error):
                raise
            raise ValueError(
                f"options: {error}; say how the network is called, for example"
                ' training={"train": True}, inference={"train": False}'
            ) from None
        if not found.frozen:
            raise ValueError("model: calls no nn.BatchNorm")
        found.norms = in_calling_order(list(found.frozen), paths_with(_MARK, moments))
        return found

    def measure(
        self,
        variables: Any,
        batch: Any,
        keys: Mapping[str, jax.Array],
        *,
        first: bool = False,
        active: Mapping[str, jax.Array] | None = None,
    ) -> Any:
        """Measures the moments of the input of every norm; may be traced.

        Args:
          variables: of the network.
          batch: its first argument.
          keys: its random ones; empty: none.
          first: the moments become the running statistics before the norm uses these, rather than
            after it.
          active: name of a dropout layer -> whether it stays on; None: all do.

        Returns:
          `batch_stats` with the moments of its input in the place of a norm's running `mean` and
          `var`, and beside them its `epsilon` and whether it is `frozen`, both with a single
          channel: so their other axes are those of scans.
        """
        return self._measure(variables, batch, keys, found=Pass(), first=first, active=active)

    def _measure(
        self,
        variables: Any,
        batch: Any,
        keys: Mapping[str, jax.Array],
        *,
        found: Pass,
        first: bool,
        active: Mapping[str, jax.Array] | None,
    ) -> Any:
        variables = flax.core.unfreeze(variables)
        mutable = [collection for collection in variables if collection != "params"]
        mutable.append(untraced_collection())

        def apply() -> Any:
            asked = as_immutable() if self.inference else contextlib.nullcontext()
            with asked, intercept_layers(self.model, _interceptor(found, first, active)):
                _, changed = self.model.apply(
                    variables, batch, **self.options, rngs=dict(keys), mutable=mutable
                )
            return flax.core.unfreeze(changed)[_STATISTICS]

        for name in self.axes:
            apply = jax.vmap(apply, in_axes=None, out_axes=None, axis_size=1, axis_name=name)
        return apply()


@contextlib.contextmanager
def as_immutable() -> Iterator[None]:
    """Modules hear that `batch_stats` is not mutable, though the moments are written there."""
    real = nn.Module.is_mutable_collection

    def asked(module: nn.Module, collection: str) -> bool:
        return collection != _STATISTICS and real(module, collection)

    nn.Module.is_mutable_collection = asked  # type: ignore[assignment, method-assign]
    try:
        yield
    finally:
        nn.Module.is_mutable_collection = real  # type: ignore[method-assign]


def _is_bridged(module: nn.Module) -> bool:
    """Whether it is a module of NNX that Linen calls."""
    # There is none where NNX was not imported, which takes a third of a second.
    bridge = sys.modules.get("flax.nnx.bridge")
    return bridge is not None and isinstance(module, bridge.ToLinen)


def _interceptor(
    found: Pass, first: bool, active: Mapping[str, jax.Array] | None
) -> Callable[..., Any]:
    called: list[tuple[Any, str | None]] = []  # scopes around the norms, and their names there

    def intercept(
        call: Callable[..., Any],
        arguments: tuple[Any, ...],
        options: dict[str, Any],
        context: nn.module.InterceptorContext,
    ) -> Any:
        module = context.module
        found.called.add(module.path)
        if _is_bridged(module):
            found.bridged.add(module.path)
        if isinstance(module, nn.SpectralNorm):
            found.weights.add(module.path)
        if context.method_name != "__call__":
            return call(*arguments, **options)
        if isinstance(module, (nn.Dropout, Dropout)):
            return _switched(found, active, module, call, arguments, options)
        if not isinstance(module, nn.BatchNorm):
            return call(*arguments, **options)
        assert module.scope is not None
        around, name = module.scope.parent, module.scope.name
        if any(around is other and name == same for other, same in called):
            raise ValueError(
                f"norm {name_of(module.path)}: is called twice in a pass, must be once"
            )
        called.append((around, name))
        told = _told(found, module, arguments, options)

        def write() -> None:
            for what, value in told.items():
                module.put_variable(_STATISTICS, what, value)

        if first:
            write()
        out = call(*arguments, **options)
        if not first:
            write()
        return out

    return intercept


def _told(
    found: Pass, module: nn.BatchNorm, arguments: tuple[Any, ...], options: Mapping[str, Any]
) -> dict[str, jax.Array]:
    x = arguments[0] if arguments else options["x"]
    if options.get("mask") is not None:
        raise ValueError(f"norm {name_of(module.path)}: has a mask, which cannot be measured")
    own = (module.axis,) if isinstance(module.axis, int) else tuple(module.axis)
    kept = {axis % x.ndim for axis in own}
    others = tuple(axis for axis in range(x.ndim) if axis not in kept)
    wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    frozen = arguments[1] if len(arguments) > 1 else options.get("use_running_average")
    frozen = bool(module.use_running_average if frozen is None else frozen)
    found.frozen[module.path] = frozen
    if module.axis_name is not None and module.axis_name not in found.axes:
        found.axes.append(module.axis_name)
    ones = (1,) * len(kept)
    return {
        "mean": jnp.mean(wide, axis=others),
        "var": jnp.var(wide, axis=others),
        _MARK: jnp.full(ones, module.epsilon, jnp.float32),
        "frozen": jnp.full(ones, frozen),
    }


def _switched(
    found: Pass,
    active: Mapping[str, jax.Array] | None,
    module: nn.Module,
    call: Callable[..., Any],
    arguments: tuple[Any, ...],
    options: Mapping[str, Any],
) -> Any:
    out = call(*arguments, **options)
    x = arguments[0] if arguments else options.get("inputs", options.get("x"))
    if out is x:  # it is off
        return x
    name = module.slot if isinstance(module, Dropout) else name_of(module.path)
    if name not in found.dropouts:
        found.dropouts.append(name)
    return out if active is None else jnp.where(active[name], out, x)
