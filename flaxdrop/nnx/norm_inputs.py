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
from flaxdrop.analysis.norm_inputs import MARK, Pass, look, switched
from flaxdrop.analysis.paths import Path, at, name_of
from flaxdrop.nnx.any_network import use_fast_convolutions
from flaxdrop.nnx.drops import drops
from flaxdrop.nnx.hooks import Hook, HookVariable, assign, call_hooked, modules_of, variables_of
from flaxdrop.nnx.norm_hooks import RENORMALISING, MeasureNorm, Note, NoteDrop, SwitchDropout
from flaxdrop.nnx.slots import class_of, plan_of
from flaxdrop.placement import Placement


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
        without = (
            "model: must call a norm of nnx (BatchNorm, LayerNorm, RMSNorm, GroupNorm,"
            " InstanceNorm) to be measured, calls none"
        )
        return look(self, variables, batch, keys, without)

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
        """The moments of the input of every norm; may be traced.

        Arguments and result are those of `flaxdrop.analysis.norm_inputs.Caller.measure`, but for
        the variables, which are from `variables_for`.
        """
        passed = Pass() if found is None else found

        def apply() -> Any:
            state = jax.tree.map(lambda leaf: leaf, variables["network"])  # new Variables, of here
            network = nnx.merge(self.graph, state)
            set_statistics(network, variables["batch_stats"])
            use_fast_convolutions(network)
            if self.inference:
                network.eval()
            else:
                network.train()
            if "dropout" in keys:
                reseed(network, keys["dropout"])
            hooks, data = self._hooks(network, keys.get("dropout"), passed, first, active)
            call_hooked(network, class_of(network), hooks, data, (batch,), self.options)
            return _told(network, data, passed)

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
                placement = switched(placement, active)
            dropped, data = drops(plan, placement, key)
        seen: list[nnx.Module] = []
        hooks: dict[Path, tuple[Hook, ...]] = {}
        for path, module in modules_of(network):
            own: list[Hook] = [Note(found, path)]
            own += [NoteDrop(found, path, drop) for drop in dropped.get(path, ())]
            turns = _turns_of(module, path, plan)
            if isinstance(module, nnx.Dropout):
                own.append(SwitchDropout(found, path))
                if active is not None and name_of(path) in active:
                    on = jnp.broadcast_to(active[name_of(path)], turns)
                    data.setdefault(path, {})["active"] = on
                if module.rngs is None and key is not None:
                    words = hashing.fold_in(hashing.key_to_words(key), hashing.name_word(*path))
                    data.setdefault(path, {})["key"] = jnp.broadcast_to(words, (*turns, 2))
            if _measured(module):
                own.append(MeasureNorm(found, path, first, self.inference, seen))
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
            assign(variable, jnp.asarray(at(statistics, path)))


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
            assign(variable, flat.reshape(keys.shape))
