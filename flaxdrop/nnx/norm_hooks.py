"""Hooks around the calls of norms and dropout layers of an NNX network, that measure and switch."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from flaxdrop.analysis.norm_inputs import Pass, uses_running, widened
from flaxdrop.analysis.paths import Path, name_of
from flaxdrop.boundaries.tracing import single_input, value_at
from flaxdrop.nnx.drops import Drop
from flaxdrop.nnx.hooks import Call, assign

# They keep no running statistics: what dropout does to the variance, they undo at inference too.
RENORMALISING = tuple(
    getattr(nnx, name)
    for name in ("LayerNorm", "RMSNorm", "GroupNorm", "InstanceNorm")
    if hasattr(nnx, name)  # the last is younger than flax 0.11.2
)
_SPECTRAL_NORM = getattr(nnx, "SpectralNorm", ())  # likewise


@dataclasses.dataclass(frozen=True, eq=False)  # equal to itself alone: `nnx.jit` traces it anew
class Note:
    """Notes that a module is called."""

    found: Pass
    path: Path

    def __call__(self, call: Call) -> Any:
        """Calls the module."""
        self.found.called.add(self.path)
        if isinstance(call.module, _SPECTRAL_NORM):
            self.found.weights.add(self.path)
        return call.go()


@dataclasses.dataclass(frozen=True, eq=False)
class NoteDrop(Note):
    """Notes that dropout is on at a slot."""

    drop: Drop

    def __call__(self, call: Call) -> Any:
        """Calls the module."""
        if self.drop.slot not in self.found.dropout_layers:
            self.found.dropout_layers.append(self.drop.slot)
        return self.drop(call)


@dataclasses.dataclass(frozen=True, eq=False)
class SwitchDropout(Note):
    """Notes whether an `nnx.Dropout` is on, and puts it off where it is told to.

    One that was made without random numbers, for calls that bring them, gets a key.
    """

    def __call__(self, call: Call) -> Any:
        """Calls the module."""
        place, _ = single_input(call.arguments, call.options)
        options = dict(call.options)
        if "key" in call.data and options.get("rngs") is None and len(call.arguments) < 3:
            words = call.data["key"][...]
            options["rngs"] = jax.random.wrap_key_data(words, impl="threefry2x32")
        out = call.proceed(*call.arguments, **options)
        x = out if place is None else value_at(place, call.arguments, call.options)
        if out is x:  # it is off
            return x
        name = name_of(self.path)
        if name not in self.found.dropout_layers:
            self.found.dropout_layers.append(name)
        return jnp.where(call.data["active"][...], out, x) if "active" in call.data else out


@dataclasses.dataclass(frozen=True, eq=False)
class MeasureNorm(Note):
    """Writes down the moments of what a norm is given.

    Attributes:
      first: before the norm is called, rather than after it.
      inference: whether the pass is one of inference.
      seen: the norms that were called.
    """

    first: bool
    inference: bool
    seen: list[nnx.Module]

    def __call__(self, call: Call) -> Any:
        """Calls the module."""
        name, module = name_of(self.path), call.module
        arguments, options = call.arguments, call.options
        if any(module is other for other in self.seen):
            raise ValueError(f"norm {name}: is called twice in a pass, must be once")
        self.seen.append(module)
        x = arguments[0] if arguments else options["x"]
        if options.get("mask") is not None:
            raise ValueError(f"norm {name}: has a mask, which cannot be measured")
        if isinstance(module, nnx.BatchNorm):
            frozen = uses_running(module, arguments, options)
            mean, var, axis = module.mean, module.var, module.axis
            if module.axis_name is not None and module.axis_name not in self.found.axes:
                self.found.axes.append(module.axis_name)
        else:
            self.found.renormalising.add(self.path)
            frozen, mean, var, axis = self.inference, call.data["mean"], call.data["var"], -1
        self.found.frozen[self.path] = frozen
        others = tuple(i for i in range(x.ndim) if i != axis % x.ndim)
        wide = widened(x)
        moments = jnp.mean(wide, axis=others), jnp.var(wide, axis=others)
        if mean[...].shape != moments[0].shape:
            raise ValueError(
                f"norm {name}: the nnx.scan or nnx.vmap around it must take all Variables along"
                " axis 0, as in_axes=0, or nnx.StateAxes with `...: 0`"
            )

        def write() -> None:
            assign(mean, moments[0])
            assign(var, moments[1])

        if self.first:
            write()
        out = call.go()
        if not self.first:
            write()
        return out
