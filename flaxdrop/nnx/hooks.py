"""Calls of the modules of an NNX network, intercepted from outside.

NNX has no interceptors. So a network is called by a view of it: other module objects that share its
Variables. In the view, the class of a module is a subclass whose `__call__` runs hooks. What a hook
computes with is a Variable of its module: `nnx.scan`, `nnx.vmap`, `nnx.jit` and the like carry it
where they carry the parameters. What a hook is, is static: another hook is another graph, which
`nnx.jit` traces anew. The network and its classes are never changed, so a call may fail, nest, or
run in several threads.
"""

import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

import jax
from flax import nnx

from flaxdrop.analysis.paths import Path

_PREFIX = "flaxdrop_"
_HOOKS = "flaxdrop_hooks"
_MISSING = object()


class HookVariable(nnx.Variable):
    """What a hook computes with, in the module that it belongs to."""


@dataclasses.dataclass(frozen=True)
class Call:
    """A call of a module, that a hook is given.

    Attributes:
      module: that is called.
      data: name -> Variable, what the hooks of this module compute with.
      proceed: the module's own call, with the hooks that are further in.
      arguments: of the call.
      options: its keywords.
    """

    module: nnx.Module
    data: Mapping[str, Any]
    proceed: Callable[..., Any]
    arguments: tuple[Any, ...]
    options: dict[str, Any]

    def go(self) -> Any:
        """Calls the module with the arguments that it was called with."""
        return self.proceed(*self.arguments, **self.options)


class Hook(Protocol):
    """What is done around the calls of one module; it must be hashable."""

    def __call__(self, call: Call) -> Any:
        """Calls the module, and returns what it gives."""


def modules_of(network: Any) -> Iterator[tuple[Path, nnx.Module]]:
    """The modules of a network with their paths; a shared one once, at its first path."""
    for path, node in nnx.iter_graph(network):
        if isinstance(node, nnx.Module):
            yield tuple(map(str, path)), node


def assign(variable: Any, value: Any) -> None:
    """Gives a Variable another value of the same shape.

    `variable[...] = value` asks a traced array for its sharding, which it has not, and JAX searches
    the whole program for the words of that error: minutes in a deep network.
    """
    if hasattr(variable, "set_value"):
        variable.set_value(value)
    else:  # an older flax
        variable[...] = value


def variables_of(network: Any) -> dict[Path, nnx.Variable[Any]]:
    """The Variables of a network by their paths; a shared one once, at its first path."""
    return {
        tuple(map(str, path)): node
        for path, node in nnx.iter_graph(network)
        if isinstance(node, nnx.Variable)
    }


def call_hooked(
    network: nnx.Module,
    cls: type,
    hooks: Mapping[Path, tuple[Hook, ...]],
    data: Mapping[Path, Mapping[str, Any]],
    arguments: tuple[Any, ...],
    options: Mapping[str, Any],
) -> Any:
    """Calls a network with hooks around the calls of its modules.

    Args:
      network: the network; its Variables change as its own call changes them.
      cls: the class whose `__call__` is meant: that of the network, or one that it is derived from.
      hooks: path of a module -> its hooks, the outermost first.
      data: path of a module -> name -> array, what its hooks get as Variables; or such a Variable,
        which is changed as they change it.
      arguments: of the call.
      options: its keywords.

    Returns:
      What the network returns.
    """
    view = nnx.merge(*nnx.split(network))
    pairs = list(zip(modules_of(network), modules_of(view), strict=True))
    for _, (path, module) in pairs:
        plain = type(module) if path else cls
        own = hooks.get(path, ())
        object.__setattr__(module, "__class__", _hooked(plain) if own else plain)
        if own:
            setattr(module, _HOOKS, tuple(own))
            for name, value in data.get(path, {}).items():
                made = value if isinstance(value, HookVariable) else HookVariable(value)
                setattr(module, _PREFIX + name, made)
    before = [dict(vars(module)) for _, (_, module) in pairs]
    out = view(*arguments, **options)
    for known, ((_, module), (_, seen)) in zip(before, pairs, strict=True):
        for name, value in list(vars(seen).items()):
            ours = name.startswith((_PREFIX, "_pytree__"))
            if not ours and value is not known.get(name, _MISSING):
                # The call set it: a counter, a cache, what it sows.
                setattr(module, name, nnx.data(value) if _has_data(value) else value)
    return out


def _has_data(value: Any) -> bool:
    data = (nnx.Variable, nnx.Pytree, jax.Array)
    leaves = jax.tree.leaves(value, is_leaf=lambda leaf: isinstance(leaf, data))
    return any(isinstance(leaf, data) for leaf in leaves)


@functools.cache
def _hooked(cls: Any) -> Any:
    @functools.wraps(cls.__call__)
    def __call__(self: Any, *arguments: Any, **options: Any) -> Any:  # noqa: N807
        call = super(hooked, self).__call__
        # Not there while the module runs: it may scan over its own Variables.
        ours = {name: value for name, value in vars(self).items() if name.startswith(_PREFIX)}
        for name in ours:
            del vars(self)[name]
        data = {name.removeprefix(_PREFIX): value for name, value in ours.items()}
        for hook in reversed(data.pop("hooks", ())):
            call = functools.partial(_through, hook, self, data, call)
        try:
            return call(*arguments, **options)
        finally:
            for name, value in ours.items():
                vars(self).setdefault(name, value)

    hooked = subclass(cls, __call__=__call__)
    return hooked


def subclass(cls: Any, **members: Any) -> Any:
    """Makes a class that looks like another, but for some of its members."""
    alike = {name: getattr(cls, name) for name in ("__module__", "__qualname__", "__doc__")}
    return type(cls)(cls.__name__, (cls,), alike | members)


def _through(
    hook: Hook,
    module: nnx.Module,
    data: Mapping[str, Any],
    proceed: Callable[..., Any],
    *arguments: Any,
    **options: Any,
) -> Any:
    return hook(Call(module, data, proceed, arguments, options))
