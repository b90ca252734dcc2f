"""What the norms of an NNX network are given, measured from outside by hooks around their calls.

As `flaxdrop.analysis.norm_inputs` does for Linen, and with its answers. The moments of the input of
a batch norm are written where its running statistics are. Those of a norm that keeps none go into
Variables that it has for the pass.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from flaxdrop import hashing
from flaxdrop.analysis.norm_inputs import MARK, Pass
from flaxdrop.analysis.paths import Path, at, in_calling_order, name_of, paths_with
from flaxdrop.boundaries import single_input, value_at
from flaxdrop.nnx.drops import Drop, drops
from flaxdrop.nnx.hooks import Call, Hook, HookVariable, call_hooked, modules_of, variables_of
from flaxdrop.nnx.slots import class_of, plan_of
from flaxdrop.placement import Placement

# They keep no running statistics: what dropout does to the variance, they undo at inference too.
RENORMALISING = tuple(
    getattr(nnx, name)
    for name in ("LayerNorm", "RMSNorm", "GroupNorm", "InstanceNorm")
    if hasattr(nnx, name)  # the last is younger than flax 0.11.2
)
_SPECTRAL_NORM = getattr(nnx, "SpectralNorm", ())  # likewise


@dataclasses.dataclass(frozen=True, eq=False)  # equal to itself alone: `nnx.jit` traces it anew
class _Note:
    """Notes that a module is called."""

    found: Pass
    path: Path

    def __call__(self, call: Call) -> Any:
        self.found.called.add(self.path)
        if isinstance(call.module, _SPECTRAL_NORM):
            self.found.weights.add(self.path)
        return call.go()


@dataclasses.dataclass(frozen=True, eq=False)
class _NoteDrop(_Note):
    """Notes that dropout is on at a slot."""

    drop: Drop

    def __call__(self, call: Call) -> Any:
        if self.drop.slot not in self.found.dropouts:
            self.found.dropouts.append(self.drop.slot)
        return self.drop(call)


@dataclasses.dataclass(frozen=True, eq=False)
class _SwitchDropout(_Note):
    """Notes whether an `nnx.Dropout` is on, and puts it off where it is told to."""

    def __call__(self, call: Call) -> Any:
        place, _ = single_input(call.arguments, call.options)
        out = call.go()
        x = out if place is None else value_at(place, call.arguments, call.options)
        if out is x:  # it is off
            return x
        name = name_of(self.path)
        if name not in self.found.dropouts:
            self.found.dropouts.append(name)
        return jnp.where(call.data["active"][...], out, x) if "active" in call.data else out


@dataclasses.dataclass(frozen=True, eq=False)
class _MeasureNorm(_Note):
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
        name, module = name_of(self.path), call.module
        arguments, options = call.arguments, call.options
        if any(module is other for other in self.seen):
            raise ValueError(f"norm {name}: is called twice in a pass, must be once")
        self.seen.append(module)
        x = arguments[0] if arguments else options["x"]
        if options.get("mask") is not None:
            raise ValueError(f"norm {name}: has a mask, which cannot be measured")
        if isinstance(module, nnx.BatchNorm):
            frozen = arguments[1] if len(arguments) > 1 else options.get("use_running_average")
            frozen = bool(module.use_running_average if frozen is None else frozen)
            mean, var, axis = module.mean, module.var, module.axis
            if module.axis_name is not None and module.axis_name not in self.found.axes:
                self.found.axes.append(module.axis_name)
        else:
            self.found.renormalising.add(self.path)
            frozen, mean, var, axis = self.inference, call.data["mean"], call.data["var"], -1
        self.found.frozen[self.path] = frozen
        others = tuple(i for i in range(x.ndim) if i != axis % x.ndim)
        wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
        moments = jnp.mean(wide, axis=others), jnp.var(wide, axis=others)
        if mean[...].shape != moments[0].shape:
            raise ValueError(
                f"norm {name}: the nnx.scan or nnx.vmap around it must take all Variables along"
                " axis 0, as in_axes=0, or nnx.StateAxes with `...: 0`"
            )

        def write() -> None:
            mean[...], var[...] = moments

        if self.first:
            write()
        out = call.go()
        if not self.first:
            write()
        return out


@dataclasses.dataclass(frozen=True)
class Caller:
    """How a network is called; the counterpart of `flaxdrop.analysis.norm_inputs.Caller`.

    Attributes:
      graph: of a network that `with_slots` made.
      options: keywords of the call.
      placement: what is on.
      axes: names of axes that norms average over; there will be one example of each.
      inference: whether it is called after `eval()`, or after `train()`.
    """

    graph: Any
    options: Mapping[str, Any]
    placement: Placement | None = None
    axes: tuple[str, ...] = ()
    inference: bool = False

    def look(self, variables: Any, batch: Any, keys: Mapping[str, jax.Array]) -> Pass:
        """What a pass goes through; computes nothing.

        Raises:
          ValueError: the network calls no norm, or is not called like that, or a norm is used in a
            way that cannot be measured.
        """
        found = Pass()

        def measure(variables: Any, batch: Any, keys: Any) -> Any:
            return self._measure(variables, batch, keys, found, first=False, active=None)

        try:
            moments = jax.eval_shape(measure, variables, batch, dict(keys))
        except TypeError as error:
            if "unexpected keyword" not in str(error):
                raise
            raise ValueError(
                f"options: {error}; say how the network is called, for example"
                ' training={"train": True}, inference={"train": False}'
            ) from None
        if not found.frozen:
            raise ValueError(
                "model: must call a norm of nnx (BatchNorm, LayerNorm, RMSNorm, GroupNorm,"
                " InstanceNorm) to be measured, calls none"
            )
        found.norms = in_calling_order(list(found.frozen), paths_with(MARK, moments))
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
        """The moments of the input of every norm; may be traced.

        Args:
          variables: of the network, from `variables_for`.
          batch: its first argument.
          keys: "dropout" -> what its random numbers depend on; empty: none.
          first: the moments become the running statistics before the norm uses these, rather than
            after it.
          active: which of the dropout layers that are on stay so, by name; None: all.

        Returns:
          As that of `flaxdrop.analysis.norm_inputs`.
        """
        return self._measure(variables, batch, keys, Pass(), first=first, active=active)

    def _measure(
        self,
        variables: Any,
        batch: Any,
        keys: Mapping[str, jax.Array],
        found: Pass,
        *,
        first: bool,
        active: Mapping[str, jax.Array] | None,
    ) -> Any:
        def apply() -> Any:
            state = jax.tree.map(lambda leaf: leaf, variables["network"])  # new Variables, of here
            network = nnx.merge(self.graph, state)
            set_statistics(network, variables["batch_stats"])
            if self.inference:
                network.eval()
            else:
                network.train()
            if "dropout" in keys:
                reseed(network, keys["dropout"])
            hooks, data = self._hooks(network, keys.get("dropout"), found, first, active)
            call_hooked(network, class_of(network), hooks, data, (batch,), self.options)
            return _told(network, data, found)

        for name in self.axes:
            apply = jax.vmap(apply, in_axes=None, out_axes=None, axis_size=1, axis_name=name)
        return apply()

    def _hooks(
        self,
        network: Any,
        key: Any,
        found: Pass,
        first: bool,
        active: Mapping[str, jax.Array] | None,
    ) -> tuple[dict[Path, tuple[Hook, ...]], dict[Path, dict[str, Any]]]:
        dropped: Mapping[Path, tuple[Any, ...]] = {}
        data: dict[Path, dict[str, Any]] = {}
        plan = plan_of(network)
        if self.placement is not None and self.placement.slots:
            placement = self.placement
            if active is not None:
                placement = _switched(placement, active)
            dropped, data = drops(plan, placement, key)
        seen: list[nnx.Module] = []
        hooks: dict[Path, tuple[Hook, ...]] = {}
        for path, module in modules_of(network):
            own: list[Hook] = [_Note(found, path)]
            own += [_NoteDrop(found, path, drop) for drop in dropped.get(path, ())]
            turns = _turns_of(module, path, plan)
            if isinstance(module, nnx.Dropout):
                own.append(_SwitchDropout(found, path))
                if active is not None and name_of(path) in active:
                    on = jnp.broadcast_to(active[name_of(path)], turns)
                    data.setdefault(path, {})["active"] = on
            if _measured(module):
                own.append(_MeasureNorm(found, path, first, self.inference, seen))
            if _measured(module) and not isinstance(module, nnx.BatchNorm):
                empty = jnp.full((*turns, _channels(module)), jnp.nan, jnp.float32)
                for what in ("mean", "var"):
                    data.setdefault(path, {})[what] = HookVariable(empty)
            hooks[path] = tuple(own)
        return hooks, data


def variables_for(network: nnx.Module) -> dict[str, Any]:
    """What a `Caller` takes: the state of a network, and its running statistics by path."""
    statistics: dict[str, Any] = {}
    for path, variable in variables_of(network).items():
        if isinstance(variable, nnx.BatchStat):
            _put(statistics, path, variable[...])
    return {"network": nnx.state(network), "batch_stats": statistics}


def set_statistics(network: nnx.Module, statistics: Any) -> None:
    """Writes running statistics into the Variables of a network."""
    for path, variable in variables_of(network).items():
        if isinstance(variable, nnx.BatchStat):
            variable[...] = jnp.asarray(at(statistics, path))


def _put(tree: dict[str, Any], path: Path, value: Any) -> None:
    for name in path[:-1]:
        tree = tree.setdefault(name, {})
    tree[path[-1]] = value


def _told(network: nnx.Module, data: Mapping[Path, Mapping[str, Any]], found: Pass) -> Any:
    """The running statistics of a network, with what is told of each norm among them."""
    told = variables_for(network)["batch_stats"]
    module: Any
    for path, module in modules_of(network):
        if path not in found.frozen:
            continue
        kept = isinstance(module, nnx.BatchNorm)
        moments = {
            what: (getattr(module, what) if kept else data[path][what])[...]
            for what in ("mean", "var")
        }
        ones = (*moments["mean"].shape[:-1], 1)
        marks = {
            MARK: jnp.full(ones, module.epsilon, jnp.float32),
            "frozen": jnp.full(ones, found.frozen[path]),
        }
        for what, value in {**moments, **marks}.items():
            _put(told, (*path, what), value)
    return told


def _switched(placement: Placement, active: Mapping[str, jax.Array]) -> Placement:
    def switch(slot: str, rate: Any) -> Any:
        return jax.tree.map(lambda part: jnp.where(active[slot], part, 0.0), rate)

    kept = placement.only(active)
    return Placement({slot: switch(slot, rate) for slot, rate in kept.rates.items()}, kept.masks)


def _channels(module: Any) -> int:
    """Length of the last axis of what a norm is given."""
    features = getattr(module, "num_features", None)
    if features is None:  # nnx.GroupNorm tells it by its parameters alone
        features = [variable[...].shape[-1] for variable in variables_of(module).values()]
    return features if isinstance(features, int) else features[-1]


def _measured(module: Any) -> bool:
    if isinstance(module, nnx.GroupNorm) and not variables_of(module):
        return False
    return isinstance(module, (nnx.BatchNorm, *RENORMALISING))


def _turns_of(module: nnx.Module, path: Path, plan: Any) -> tuple[int, ...]:
    """The lengths of the scans around a norm or an `nnx.Dropout`."""
    # A parameter of a norm has one axis for each of its features, a count has none.
    features = getattr(module, "num_features", 1 if isinstance(module, nnx.GroupNorm) else ())
    axes = 1 if isinstance(features, int) else len(features)
    for variable in variables_of(module).values():
        if isinstance(variable, nnx.BatchStat | nnx.Param | nnx.RngCount):
            shape = variable[...].shape
            return shape[: len(shape) - axes]
    for place in plan.every:
        if place.boundary.path == path or any(
            alias.startswith("/".join(path) + ":") for alias in place.aliases
        ):
            return place.boundary.shape or ()
    return ()


def reseed(network: nnx.Module, key: jax.Array) -> None:
    """Makes the random numbers of a network depend on a key."""
    word = hashing.key_to_words(key)
    number = hashing.fold_in(word, word[1])[0]
    for variable in variables_of(network).values():
        if isinstance(variable, nnx.RngKey):
            keys = variable[...]
            flat = jax.vmap(lambda own: jax.random.fold_in(own, number))(keys.reshape(-1))
            variable[...] = flat.reshape(keys.shape)
