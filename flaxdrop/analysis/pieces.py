"""Compiles the repeated parts of a network once.

XLA compiles a network whose blocks are unrolled as if all of them were different, and the time that
it takes grows faster than their number. Here a traced program is cut behind each convolution and
each product of matrices. Pieces that are alike are compiled once, and called one after the other.
"""

import collections
import dataclasses
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import jax

from flaxdrop.analysis.alike import (
    HEAVY,
    Equation,
    Kinds,
    TracedProgram,
    literal_array,
    literal_bytes,
)

_SMALL = 256  # numbers, at most, in arrays that may wait until the piece that takes them


@dataclasses.dataclass(frozen=True, eq=False)
class _Piece:
    """Equations that are compiled together.

    Attributes:
      run: (arrays, literals) -> arrays; shared by all alike pieces.
      given: numbers of the arrays that it takes.
      literals: those that differ between alike pieces, as the hashes of names do.
      made: numbers of the arrays that it gives.
      done: numbers of the arrays that nothing takes behind it.
    """

    run: Callable[..., Any]
    given: tuple[int, ...]
    literals: tuple[Any, ...]
    made: tuple[int, ...]
    done: tuple[int, ...]


@dataclasses.dataclass(frozen=True, eq=False)
class _Plan:
    """A program in pieces, and the structure of its result."""

    program: TracedProgram
    pieces: list[_Piece]
    structure: Any


class InPieces:
    """Calls a function as `jax.jit` does, compiled in pieces.

    It is traced once for every structure, shape and type of its arguments.

    >>> import jax.numpy as jnp
    >>> def network(x, kernels):
    ...     for kernel in kernels:
    ...         x = jnp.tanh(x @ kernel)
    ...     return x
    >>> in_pieces = InPieces(network)
    >>> in_pieces(jnp.ones((32, 16)), [jnp.eye(16)] * 50).shape
    (32, 16)
    >>> in_pieces.compiled  # the first, those within, and the last
    3
    """

    def __init__(self, function: Callable[..., Any]):
        self._function = function
        self._kinds = Kinds()
        self._plans: dict[Hashable, _Plan] = {}
        self._runs: dict[Hashable, Callable[..., Any]] = {}

    @property
    def compiled(self) -> int:
        """How many different pieces there are."""
        return len(self._runs)

    def __call__(self, *arguments: Any) -> Any:
        """Calls the function; its arguments and its result are trees of arrays."""
        leaves, structure = jax.tree.flatten(arguments)
        kind = (structure, tuple(map(jax.typeof, leaves)))
        if kind not in self._plans:
            self._plans[kind] = self._plan(arguments)
        plan = self._plans[kind]
        program = plan.program
        arrays = {**program.constants, **dict(zip(program.inputs, leaves, strict=True))}
        for piece in plan.pieces:
            given = [arrays[number] for number in piece.given]
            arrays.update(zip(piece.made, piece.run(given, piece.literals), strict=True))
            for number in piece.done:
                del arrays[number]
        found = [arrays[out] if isinstance(out, int) else out.val for out in program.outputs]
        return jax.tree.unflatten(plan.structure, found)

    def _plan(self, arguments: tuple[Any, ...]) -> _Plan:
        traced, shapes = jax.make_jaxpr(self._function, return_shape=True)(*arguments)
        program = TracedProgram(traced)
        return _Plan(program, self._pieces(program), jax.tree.structure(shapes))

    def _pieces(self, program: TracedProgram) -> list[_Piece]:
        groups = _cut(program)
        last = {number: i for i, group in enumerate(groups) for e in group for number in e.arrays}
        last.update((out, len(groups)) for out in program.outputs if isinstance(out, int))
        sides = [_sides(group, i, last) for i, group in enumerate(groups)]
        alike: dict[int, list[int]] = collections.defaultdict(list)
        for i, (group, (given, made)) in enumerate(zip(groups, sides, strict=True)):
            alike[self._kinds.number(group, given, made, program.types)].append(i)
        pieces: dict[int, _Piece] = {}
        for kind, members in alike.items():
            literals = {i: [v for e in groups[i] for v in e.literals] for i in members}
            columns = zip(*literals.values(), strict=True)
            values = [{literal_bytes(literal) for literal in column} for column in columns]
            differ = tuple(j for j, several in enumerate(values) if len(several) > 1)
            key = (kind, differ, tuple(frozenset(v) for v in values if len(v) == 1))
            if key not in self._runs:
                self._runs[key] = _compiled(groups[members[0]], *sides[members[0]], differ)
            for i in members:
                given, made = sides[i]
                pieces[i] = _Piece(
                    self._runs[key],
                    given,
                    tuple(literal_array(literals[i][j]) for j in differ),
                    made,
                    tuple(number for number in given if last[number] == i),
                )
        return [pieces[i] for i in range(len(groups))]


def _cut(program: TracedProgram) -> list[list[Equation]]:
    """Cuts behind heavy equations; small ones wait until the first piece that takes them."""
    places, place = [], 0
    for equation in program.equations:
        places.append(place)
        place += equation.primitive.name in HEAVY
    first: dict[int, int] = {}  # array -> the first piece that takes it
    for i in reversed(range(len(places))):
        equation = program.equations[i]
        taken = [first[number] for number in equation.made if number in first]
        around = (*equation.arrays, *equation.made)
        if taken and all(program.types[number].size <= _SMALL for number in around):
            places[i] = min(taken)
        for number in equation.arrays:
            first[number] = min(places[i], first.get(number, place))
    groups: dict[int, list[Equation]] = collections.defaultdict(list)
    for i, equation in zip(places, program.equations, strict=True):
        groups[i].append(equation)
    return [groups[i] for i in sorted(groups)]


def _sides(
    group: Sequence[Equation], place: int, last: dict[int, int]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """What a piece takes, and what later ones take of it."""
    made = [number for equation in group for number in equation.made]
    own = set(made)
    taken = [number for equation in group for number in equation.arrays if number not in own]
    given = tuple(dict.fromkeys(taken))
    return given, tuple(number for number in made if last.get(number, -1) > place)


def _compiled(
    group: Sequence[Equation],
    given: tuple[int, ...],
    made: tuple[int, ...],
    differ: tuple[int, ...],
) -> Callable[..., Any]:
    def run(arrays: Sequence[Any], literals: Sequence[Any]) -> list[Any]:
        values: dict[Any, Any] = dict(zip(given, arrays, strict=True))
        lifted = iter(range(1 << 62))
        replaced = dict(zip(differ, literals, strict=True))

        def operand(value: Any) -> Any:
            return (
                values[value] if isinstance(value, int) else replaced.get(next(lifted), value.val)
            )

        for equation in group:
            out = equation.primitive.bind(*map(operand, equation.given), **equation.params)
            several = equation.primitive.multiple_results
            values.update(zip(equation.made, out if several else [out], strict=True))
        return [values[number] for number in made]

    return jax.jit(run)
