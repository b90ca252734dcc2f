"""Traced programs as lists of equations, and which of these are alike."""

import dataclasses
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from typing import Any

import jax
import jax.extend
import numpy as np

HEAVY = {"conv_general_dilated", "dot_general", "scan", "while", "cond"}
_JITTED = {"pjit", "jit"}
_CALLS = {"closed_call", "core_call", "checkpoint", "remat2"}
_CALLS_BY_RULES = ("custom_jvp", "custom_vjp", "custom_vmap")
_PROGRAMS = (jax.extend.core.ClosedJaxpr, jax.extend.core.Jaxpr)


@dataclasses.dataclass(frozen=True, eq=False)
class Equation:
    """One operation of a program.

    Attributes:
      primitive: what is done.
      params: how.
      given: what it is done to: numbers of arrays, and literals.
      made: numbers of the arrays that it makes.
    """

    primitive: Any
    params: dict[str, Any]
    given: tuple[Any, ...]
    made: tuple[int, ...]

    @property
    def arrays(self) -> list[int]:
        """Numbers of the arrays among `given`."""
        return [value for value in self.given if isinstance(value, int)]

    @property
    def literals(self) -> list[Any]:
        """The literals among `given`."""
        return [value for value in self.given if not isinstance(value, int)]


class TracedProgram:
    """A traced program whose heavy equations are not inside of calls.

    Attributes:
      equations: in their order, without those that nothing depends on.
      inputs: numbers of the arrays that it takes.
      constants: number of an array -> its value.
      outputs: numbers of arrays, and literals.
      types: number of an array -> its shape and type.
    """

    def __init__(self, traced: Any):
        self.types: dict[int, Any] = {}
        self.constants: dict[int, Any] = {}
        self.equations: list[Equation] = []
        self._heavy: dict[int, bool] = {}  # of programs inside, by id
        jaxpr = traced.jaxpr
        self.inputs = self._numbered(jaxpr.invars)
        known = dict(zip(jaxpr.invars, self.inputs, strict=True))
        self.outputs = self._add(jaxpr, traced.consts, known)
        wanted = {out for out in self.outputs if isinstance(out, int)}
        kept = []
        for equation in reversed(self.equations):
            if wanted.intersection(equation.made):
                wanted.update(equation.arrays)
                kept.append(equation)
        self.equations = kept[::-1]

    def _numbered(self, variables: Iterable[Any]) -> list[int]:
        numbers = []
        for variable in variables:
            numbers.append(len(self.types))
            self.types[numbers[-1]] = variable.aval
        return numbers

    def _add(self, jaxpr: Any, constants: Sequence[Any], known: dict[Any, Any]) -> list[Any]:
        held = self._numbered(jaxpr.constvars)
        known = {**known, **dict(zip(jaxpr.constvars, held, strict=True))}
        self.constants.update(zip(held, constants, strict=True))

        def value(atom: Any) -> Any:
            return atom if isinstance(atom, jax.extend.core.Literal) else known[atom]

        for equation in jaxpr.eqns:
            given = tuple(map(value, equation.invars))
            inner = self._called(equation)
            if inner is None:
                made = self._numbered(equation.outvars)
                own = Equation(equation.primitive, equation.params, given, tuple(made))
                self.equations.append(own)
            else:
                made = self._add(*inner, dict(zip(inner[0].invars, given, strict=True)))
            known.update(zip(equation.outvars, made, strict=True))
        return [value(atom) for atom in jaxpr.outvars]

    def _called(self, equation: Any) -> tuple[Any, Sequence[Any]] | None:
        """The program that stands in the place of an equation that calls it."""
        name, inner = equation.primitive.name, list(_programs(equation))
        called = name in _CALLS or name.startswith(_CALLS_BY_RULES)
        # A small function that many call, as one of the hash, stays whole.
        called |= name in _JITTED and self._is_heavy(equation)
        return inner[0] if called and len(inner) == 1 else None

    def _is_heavy(self, equation: Any) -> bool:
        for jaxpr, _ in _programs(equation):
            if id(jaxpr) not in self._heavy:
                self._heavy[id(jaxpr)] = any(map(self._is_heavy, jaxpr.eqns))
            if self._heavy[id(jaxpr)]:
                return True
        return equation.primitive.name in HEAVY


def _programs(equation: Any) -> Iterator[tuple[Any, Sequence[Any]]]:
    """The programs among the parameters of an equation, with their constants."""
    for value in equation.params.values():
        if isinstance(value, jax.extend.core.ClosedJaxpr):
            yield value.jaxpr, value.consts
        elif isinstance(value, jax.extend.core.Jaxpr):
            yield value, ()


def literal_array(literal: Any) -> np.ndarray:
    """The value of a literal."""
    return np.asarray(literal.val, literal.aval.dtype)


def literal_bytes(literal: Any) -> bytes:
    """The value of a literal, to be compared."""
    return literal_array(literal).tobytes()


class Kinds:
    """Numbers for what equations do: the same number says that they compute the same."""

    def __init__(self) -> None:
        self._numbers: dict[Hashable, int] = {}
        self._programs: dict[int, tuple[Any, int]] = {}
        self._kept: list[Any] = []  # so that no other gets its id

    def number(
        self,
        equations: Iterable[Equation],
        given: Iterable[int],
        made: Iterable[int],
        types: dict[int, Any],
    ) -> int:
        """The number of a function that is made of equations; the values of literals are left out.

        Args:
          equations: in their order.
          given: numbers of the arrays that it takes.
          made: numbers of the arrays that it gives.
          types: number of an array -> its shape and type.
        """

        def literal(value: Any) -> Hashable:
            return value.aval

        lines = ((e.primitive, e.given, e.made, e.params) for e in equations)
        return self._number(lines, given, made, types.__getitem__, literal)

    def _number(
        self,
        lines: Iterable[tuple[Any, Iterable[Any], Iterable[Any], dict[str, Any]]],
        given: Iterable[Any],
        made: Iterable[Any],
        type_of: Callable[[Any], Any],
        literal: Callable[[Any], Hashable],
    ) -> int:
        order: dict[Any, int] = {}

        def own(atom: Any) -> Hashable:
            if not isinstance(atom, int) and isinstance(atom, jax.extend.core.Literal):
                return literal(atom)
            if atom in order:
                return order[atom]
            order[atom] = len(order)
            return (order[atom], type_of(atom))

        kind = (
            tuple(map(own, given)),
            tuple(
                (primitive, tuple(map(own, taken)), tuple(map(own, out)), self._params(params))
                for primitive, taken, out, params in lines
            ),
            tuple(map(own, made)),
        )
        return self._numbers.setdefault(kind, len(self._numbers))

    def _program(self, jaxpr: Any) -> int:
        if id(jaxpr) not in self._programs:
            number = self._number(
                ((e.primitive, e.invars, e.outvars, e.params) for e in jaxpr.eqns),
                (*jaxpr.constvars, *jaxpr.invars),
                jaxpr.outvars,
                lambda variable: variable.aval,
                lambda literal: (literal.aval, literal_bytes(literal)),
            )
            self._programs[id(jaxpr)] = jaxpr, number
        return self._programs[id(jaxpr)][1]

    def _params(self, value: Any) -> Hashable:
        """A parameter of an equation, or a stand-in that is equal for equal ones alone."""
        if isinstance(value, jax.extend.core.ClosedJaxpr):
            self._kept += value.consts
            return (self._program(value.jaxpr), tuple(map(id, value.consts)))
        if isinstance(value, jax.extend.core.Jaxpr):
            return self._program(value)
        if isinstance(value, dict):
            return tuple((name, self._params(value[name])) for name in sorted(value))
        if isinstance(value, tuple | list) and any(isinstance(part, _PROGRAMS) for part in value):
            return (type(value), tuple(map(self._params, value)))
        try:
            hash(value)
        except TypeError:
            if isinstance(value, tuple | list):
                return (type(value), tuple(map(self._params, value)))
            self._kept.append(value)
            return id(value)
        return (type(value), value)
