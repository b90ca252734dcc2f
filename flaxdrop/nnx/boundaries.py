"""The boundaries of the modules of an NNX network, found by tracing a call of it.

As `flaxdrop.boundaries` does for Linen, and with its names: `layers/0/conv:in` is before a module,
`layers/0/conv:out` behind it. How often a place is there is known by the Variables of its module:
inside `nnx.scan` or `nnx.vmap` they have fewer axes than outside.
"""

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import jax
from flax import nnx
from jax.ad_checkpoint import checkpoint_name

from flaxdrop.analysis.paths import Path
from flaxdrop.boundaries.tracing import (
    LABEL,
    Boundaries,
    Boundary,
    Seen,
    find_chains,
    output_reason,
    pixels,
    single_input,
    value_at,
    with_value,
)
from flaxdrop.nnx.dropout import Dropout
from flaxdrop.nnx.hooks import Call, call_hooked, modules_of, variables_of

Shape = tuple[int, ...]


@dataclasses.dataclass
class _Seen:
    """What a trace of a network went through.

    Attributes:
      shapes: path of a Variable -> its shape outside.
      sides: (path of a module, side) -> its class and pixels, in the order of the calls.
      turns: path of a module -> lengths of the scans around it.
      left_out: name of a boundary -> why it takes no dropout.
    """

    shapes: Mapping[Path, Shape]
    sides: dict[tuple[Path, str], Seen] = dataclasses.field(default_factory=dict)
    turns: dict[Path, Shape] = dataclasses.field(default_factory=dict)
    left_out: dict[str, str] = dataclasses.field(default_factory=dict)

    def mark(self, path: Path, side: str, value: Any, reason: str | None, kind: type) -> Any:
        name = f"{'/'.join(path)}:{side}"
        if reason is not None:
            self.left_out[name] = reason
            return value
        self.sides.setdefault((path, side), Seen(kind, pixels(value)))
        return checkpoint_name(value, LABEL + name)

    def note_turns(self, path: Path, module: nnx.Module) -> None:
        for own, variable in variables_of(module).items():
            outside = self.shapes.get((*path, *own))
            if outside is not None:
                self.turns.setdefault(path, _removed(outside, variable[...].shape))
                return


@dataclasses.dataclass(frozen=True, eq=False)  # equal to itself alone: `nnx.jit` traces it anew
class _Mark:
    """Marks the arrays before and behind a module."""

    seen: _Seen
    path: Path
    kind: type

    def __call__(self, call: Call) -> Any:
        self.seen.note_turns(self.path, call.module)
        if self.kind is Dropout:  # a slot by its own name
            x, *_ = (*call.arguments, *call.options.values())
            self.seen.sides.setdefault((self.path, "in"), Seen(Dropout, pixels(x)))
        if not self.path or self.kind is Dropout:
            return call.go()
        arguments, options = call.arguments, call.options
        place, reason = single_input(arguments, options)
        value = None if place is None else value_at(place, arguments, options)
        value = self.seen.mark(self.path, "in", value, reason, self.kind)
        if place is not None:
            arguments, options = with_value(place, value, arguments, options)
        # Dropout that is there already is passed by: before and behind it are one place.
        passed = place is not None and issubclass(self.kind, nnx.Dropout)
        out = value if passed else call.proceed(*arguments, **options)
        return self.seen.mark(self.path, "out", out, output_reason(out), self.kind)


def find_boundaries(
    model: nnx.Module, arguments: Sequence[Any], options: Mapping[str, Any]
) -> Boundaries:
    """Traces a call of a network, computing nothing and changing nothing.

    Args:
      model: an NNX network.
      arguments: arrays or their shapes, that it is called with.
      options: keywords of the call.

    Returns:
      Its boundaries; none are of the network itself. The place of a `flaxdrop.nnx.Dropout` is the
      side "in" of that module.
    """
    shapes = {path: variable[...].shape for path, variable in variables_of(model).items()}
    seen = _Seen(shapes)
    hooks = {path: (_Mark(seen, path, type(module)),) for path, module in modules_of(model)}
    graph, state = nnx.split(model)

    def call(state: Any, arrays: Sequence[Any]) -> Any:
        network = nnx.merge(graph, state)
        return call_hooked(network, type(model), hooks, {}, tuple(arrays), options)

    program = jax.make_jaxpr(call)(state, tuple(arguments))
    every = tuple(
        Boundary(path, side, found.kind, _turns_at(seen.turns, path), found.pixels)
        for (path, side), found in seen.sides.items()
    )
    names = {boundary.name for boundary in every}
    return Boundaries(
        every=every,
        chains=tuple(find_chains(program)),
        left_out={name: why for name, why in seen.left_out.items() if name not in names},
    )


def _removed(outside: Shape, inside: Shape) -> Shape:
    """The lengths of the axes that a Variable has outside of the scans around it alone."""
    extra = len(outside) - len(inside)
    for axes in itertools.combinations(range(len(outside)), max(extra, 0)):
        if tuple(n for axis, n in enumerate(outside) if axis not in axes) == inside:
            return tuple(outside[axis] for axis in axes)
    return ()


def _turns_at(turns: Mapping[Path, Shape], path: Path) -> Shape:
    """Those of a module, or, where it has no Variable, of the modules that are nearest to it."""
    for end in range(len(path), -1, -1):
        if path[:end] in turns:
            return turns[path[:end]]
        beside = {lengths for other, lengths in turns.items() if other[:end] == path[:end]}
        if len(beside) == 1:
            return beside.pop()
    return ()
