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
from flaxdrop.boundaries.slotted import SlottedModel, intercept_layers
from flaxdrop.calling import naming_call
from flaxdrop.dropout import Dropout
from flaxdrop.placement import Placement
from flaxdrop.slots import untraced_collection

_STATISTICS = "batch_stats"
MARK = "epsilon"  # what an intercepted norm has among its statistics, and no other module


@dataclasses.dataclass
class Pass:
    """The modules that a pass of the network went through.

    Attributes:
      norms: paths of the norms, in the order of the network.
      frozen: path -> whether the norm uses its running statistics; of norms that `nn.jit` traces
        once, for the first.
      dropout_layers: those that were on: a slot's name for `flaxdrop.Dropout`, which may stand
        for many places; the module's path for `nn.Dropout`.
      axes: names of axes that norms average over.
      called: paths of all modules that were, and of them `bridged`, whose insides are of NNX.
      weights: paths of `nn.SpectralNorm`, whose statistics are of weights alone.
      renormalising: paths of the norms that keep no running statistics.
    """

    norms: list[Path] = dataclasses.field(default_factory=list)
    frozen: dict[Path, bool] = dataclasses.field(default_factory=dict)
    dropout_layers: list[str] = dataclasses.field(default_factory=list)
    axes: list[str] = dataclasses.field(default_factory=list)
    called: set[Path] = dataclasses.field(default_factory=set)
    bridged: set[Path] = dataclasses.field(default_factory=set)
    weights: set[Path] = dataclasses.field(default_factory=set)
    renormalising: set[Path] = dataclasses.field(default_factory=set)


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
        return look(self, variables, batch, keys, "model: calls no nn.BatchNorm")

    def measure(
        self,
        variables: Any,
        batch: Any,
        keys: Mapping[str, jax.Array],
        *,
        first: bool = False,
        active: Mapping[str, jax.Array] | None = None,
        found: Pass | None = None,
    ) -> Any:
        """Measures the moments of the input of every norm; may be traced.

        Args:
          variables: of the network.
          batch: its first argument.
          keys: its random ones; empty: none.
          first: the moments become the running statistics before the norm uses these, rather than
            after it.
          active: name of a dropout layer -> whether it stays on; None: all do.
          found: gets what the pass goes through.

        Returns:
          `batch_stats` with the moments of its input in the place of a norm's running `mean` and
          `var`, and beside them its `epsilon` and whether it is `frozen`, both with a single
          channel: so their other axes are those of scans.
        """
        found = Pass() if found is None else found
        variables = flax.core.unfreeze(variables)
        options = dict(self.options)
        placement = options.get("placement")
        if isinstance(self.model, SlottedModel) and placement is not None:
            known = found.dropout_layers
            known += [slot for slot in placement.slots if slot not in known]
            if active is not None:
                options["placement"] = switched(placement, active)
        mutable = [collection for collection in variables if collection != "params"]
        mutable.append(untraced_collection())

        def apply() -> Any:
            asked = as_immutable() if self.inference else contextlib.nullcontext()
            with asked, intercept_layers(self.model, _interceptor(found, first, active)):
                _, changed = self.model.apply(
                    variables, batch, **options, rngs=dict(keys), mutable=mutable
                )
            return flax.core.unfreeze(changed)[_STATISTICS]

        for name in self.axes:
            apply = jax.vmap(apply, in_axes=None, out_axes=None, axis_size=1, axis_name=name)
        return apply()


def switched(placement: Placement, active: Mapping[str, jax.Array]) -> Placement:
    """The slots of a placement that `active` names, at the rate 0 where it says that they are off.

    Args:
      placement: with rates.
      active: slot -> whether it is on.
    """

    def switch(slot: str, rate: Any) -> Any:
        return jax.tree.map(lambda part: jnp.where(active[slot], part, 0.0), rate)

    kept = placement.only(active)
    return Placement({slot: switch(slot, rate) for slot, rate in kept.rates.items()}, kept.masks)


def look(
    caller: Any, variables: Any, batch: Any, keys: Mapping[str, jax.Array], without: str
) -> Pass:
    """Traces a pass of a `Caller` and tells what it goes through, without computing anything.

    Raises:
      ValueError: as `Caller.look`; `without` are the words where no norm is called.
    """
    found = Pass()
    measure = functools.partial(caller.measure, found=found)
    with naming_call("options", 'training={"train": True}, inference={"train": False}'):
        moments = jax.eval_shape(measure, variables, batch, dict(keys))
    if not found.frozen:
        raise ValueError(without)
    found.norms = in_calling_order(list(found.frozen), paths_with(MARK, moments))
    return found


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

    def intercept(call: Any, arguments: Any, options: Any, context: Any) -> Any:
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
        refuse_second_call(called, module)
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
    moments = batch_moments(module, arguments, options)
    found.frozen[module.path] = frozen = uses_running(module, arguments, options)
    if module.axis_name is not None and module.axis_name not in found.axes:
        found.axes.append(module.axis_name)
    return {**moments, "frozen": jnp.full(moments[MARK].shape, frozen)}


def refuse_second_call(called: list[tuple[Any, str | None]], module: Any) -> None:
    """Refuses a norm that was called in this pass, and notes the others.

    Args:
      called: scopes around the norms that were called, and their names there.
      module: a norm that is called.

    Raises:
      ValueError: it is among them.
    """
    around, name = module.scope.parent, module.scope.name
    if any(around is other and name == same for other, same in called):
        raise ValueError(f"norm {name_of(module.path)}: is called twice in a pass, must be once")
    called.append((around, name))


def uses_running(module: Any, arguments: tuple[Any, ...], options: Mapping[str, Any]) -> bool:
    """Whether a call of a batch norm uses its running statistics."""
    frozen = arguments[1] if len(arguments) > 1 else options.get("use_running_average")
    return bool(module.use_running_average if frozen is None else frozen)


def batch_moments(
    module: Any, arguments: tuple[Any, ...], options: Mapping[str, Any]
) -> dict[str, jax.Array]:
    """Mean and variance of what a batch norm is called with, by channel, and its epsilon.

    Raises:
      ValueError: it has a mask.
    """
    if options.get("mask") is not None:
        raise ValueError(f"norm {name_of(module.path)}: has a mask, which cannot be measured")
    x = arguments[0] if arguments else options["x"]
    own = (module.axis,) if isinstance(module.axis, int) else tuple(module.axis)
    kept = {axis % x.ndim for axis in own}
    others = tuple(axis for axis in range(x.ndim) if axis not in kept)
    wide = widened(x)
    return {
        "mean": jnp.mean(wide, axis=others),
        "var": jnp.var(wide, axis=others),
        MARK: jnp.full((1,) * len(kept), module.epsilon, jnp.float32),
    }


def widened(x: jax.Array) -> jax.Array:
    """`x` in f32 at least."""
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))


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
    if name not in found.dropout_layers:
        found.dropout_layers.append(name)
    return out if active is None else jnp.where(active[name], out, x)
