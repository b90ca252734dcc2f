"""The boundaries of the layers of a Linen network, found by tracing a call of it.

A boundary is before (`:in`) or behind (`:out`) a module: `Block_0/Conv_1:in`. Where an array goes
from one boundary to the next and nowhere else, both are one place: dropout does the same there.

While it is traced, every boundary writes a mark into the "params" of its module, and marks its
array in the traced program. The mark in "params" comes out of `nn.scan` and `nn.vmap` with their
axes: so it is known how often the place is there. The marks in the program tell which boundaries
are one place.
"""

import collections
import dataclasses
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.extend
import jax.numpy as jnp
from flax.core.scope import DenyList
from jax.ad_checkpoint import checkpoint_name

from flaxdrop.dropout import Dropout
from flaxdrop.slots import untraced_collection

Path = tuple[str, ...]
# A mark has so many axes of length 1 that a scan may stack it along any that its parameters have.
MARK_SHAPE = (1,) * 6
LABEL = "flaxdrop boundary "
_INLINED = {"pjit", "jit", "checkpoint", "remat2", "closed_call", "core_call"}


@dataclasses.dataclass(frozen=True)
class Boundary:
    """One side of a module.

    Attributes:
      path: of the module.
      side: "in" or "out".
      kind: class of the module.
      shape: of a value that reaches it through "params": the axes of the scans around the module,
        among axes of length 1. None: "params" do not reach it, as in a scan without parameters.
      pixels: of each map there; 1 also behind a pooling of all of them.
    """

    path: Path
    side: str
    kind: type
    shape: tuple[int, ...] | None
    pixels: int

    @property
    def name(self) -> str:
        """The path and the side, as in "Block_0/Conv_1:in"."""
        return f"{'/'.join(self.path)}:{self.side}"


class Seen(NamedTuple):
    """What is known of a side of a module when it is called.

    Attributes:
      kind: class of the module.
      pixels: as of `Boundary`.
    """

    kind: type
    pixels: int


@dataclasses.dataclass(frozen=True)
class Boundaries:
    """What a network has.

    Attributes:
      every: all boundaries that take dropout, in the order of the calls.
      chains: names of boundaries that are one place, in the order of the calls.
      left_out: name of a boundary -> why it takes no dropout.
    """

    every: tuple[Boundary, ...]
    chains: tuple[tuple[str, ...], ...]
    left_out: Mapping[str, str]


def find_boundaries(
    model: nn.Module, arguments: Sequence[Any], options: Mapping[str, Any]
) -> Boundaries:
    """Traces the initialisation of a network, computing nothing.

    Args:
      model: a Linen network.
      arguments: arrays or their shapes, that it is called with.
      options: keywords of the call.

    Returns:
      Its boundaries; none are of the network itself.
    """
    seen: dict[tuple[Path, str], Seen] = {}
    left_out: dict[str, str] = {}

    def mark(module: nn.Module, side: str, value: Any, reason: str | None) -> Any:
        name = f"{'/'.join(module.path)}:{side}"
        if reason is not None:
            left_out[name] = reason
            return value
        seen.setdefault((module.path, side), Seen(type(module), pixels(value)))
        if module.is_mutable_collection("params"):
            module.put_variable("params", f":{side}", jnp.zeros(MARK_SHAPE))
        return checkpoint_name(value, LABEL + name)

    def intercept(call: Any, given: Any, keywords: Any, context: Any) -> Any:
        module = context.module
        if context.method_name != "__call__" or not module.path:
            return call(*given, **keywords)
        place, reason = single_input(given, keywords)
        value = None if place is None else value_at(place, given, keywords)
        value = mark(module, "in", value, reason)
        if place is not None:
            given, keywords = with_value(place, value, given, keywords)
        # Dropout that is there already is passed by: before and behind it are one place.
        out = value if _is_dropout(module) and place is not None else call(*given, **keywords)
        return mark(module, "out", out, output_reason(out))

    keys = {"params": jax.random.key(0), "dropout": jax.random.key(0)}
    # `nn.jit` would not call again what it traced before.
    mutable = DenyList(("intermediates", untraced_collection()))

    def init(arrays: Sequence[Any]) -> Any:
        return model.init_with_output(keys, *arrays, mutable=mutable, **options)

    with nn.intercept_methods(intercept):
        program, (_, shapes) = jax.make_jaxpr(init, return_shape=True)(tuple(arguments))
    marks = dict(_marks(shapes.get("params", {})))
    every = _ordered(seen, marks)
    names = {boundary.name for boundary in every}
    return Boundaries(
        every=tuple(every),
        chains=tuple(find_chains(program)),
        left_out={name: reason for name, reason in left_out.items() if name not in names},
    )


def _is_dropout(module: nn.Module) -> bool:
    return isinstance(module, nn.Dropout | Dropout)


def _is_units(value: Any) -> bool:
    dtype = getattr(value, "dtype", None)
    return dtype is not None and jnp.issubdtype(dtype, jnp.floating) and jnp.ndim(value) > 0


def pixels(value: Any) -> int:
    """Of each map in an array `[N, ..., C]`."""
    return math.prod(value.shape[1:-1])


def single_input(
    arguments: tuple[Any, ...], keywords: Mapping[str, Any]
) -> tuple[int | str | None, str | None]:
    """Finds the one array of floating-point numbers that a module is called with.

    Returns:
      (its position or keyword, None), or (None, why there is no such array).
    """
    leaves = [leaf for leaf in jax.tree.leaves((arguments, dict(keywords))) if _is_units(leaf)]
    if not leaves:
        return None, "takes no array of floating-point numbers"
    if len(leaves) > 1:
        return None, f"takes {len(leaves)} arrays"
    places: list[tuple[int | str, Any]] = [*enumerate(arguments), *keywords.items()]
    for place, value in places:
        if value is leaves[0]:
            return place, None
    return None, "takes its array inside a tuple or dictionary"


def output_reason(out: Any) -> str | None:
    """Says why what a module gives takes no dropout; None: it does."""
    if _is_units(out):
        return None
    if hasattr(out, "dtype"):
        return f"gives numbers of {out.dtype}, or a single one"
    return f"gives a {type(out).__name__}"


def value_at(place: int | str, arguments: tuple[Any, ...], keywords: Mapping[str, Any]) -> Any:
    """The argument of a call at a position or keyword."""
    return arguments[place] if isinstance(place, int) else keywords[place]


def with_value(
    place: int | str, value: Any, arguments: tuple[Any, ...], keywords: Mapping[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments of a call with another value at a position or keyword."""
    if isinstance(place, int):
        return (*arguments[:place], value, *arguments[place + 1 :]), dict(keywords)
    return arguments, {**keywords, place: value}


def _marks(params: Any, path: Path = ()) -> Iterator[tuple[tuple[Path, str], tuple[int, ...]]]:
    for name, value in params.items():
        if name in (":in", ":out"):
            yield (path, name[1:]), value.shape
        elif isinstance(value, Mapping):
            yield from _marks(value, (*path, name))


def _ordered(
    seen: Mapping[tuple[Path, str], Seen], marks: Mapping[tuple[Path, str], tuple[int, ...]]
) -> list[Boundary]:
    """The boundaries in calling order.

    `nn.jit` traces alike modules once: those that were not seen differ from one that was in their
    numbers alone, and stand behind it.
    """
    order = list(seen.items())
    hidden = [place for place in marks if place not in seen]
    for path, side in sorted(hidden, key=lambda place: (numbers("/".join(place[0])), place)):
        alike = [
            i
            for i, ((other, its_side), _) in enumerate(order)
            if its_side == side and starred("/".join(other)) == starred("/".join(path))
        ]
        if alike:
            order.append(((path, side), order[alike[-1]][1]))
    return [
        Boundary(path, side, found.kind, marks.get((path, side)), found.pixels)
        for (path, side), found in order
    ]


def numbers(name: str) -> list[int]:
    """The numbers in a name, as [0, 1] in "Block_0/Conv_1"."""
    return [int(number) for number in re.findall(r"\d+", name)]


def starred(name: str) -> str:
    """A name with a star in the place of every number."""
    return re.sub(r"\d+", "*", name)


def find_chains(program: Any) -> Iterator[tuple[str, ...]]:
    """Finds the boundaries that pass one array on, and to nothing else, in a traced program.

    Args:
      program: in which arrays at boundaries are marked by `checkpoint_name`, `LABEL` and a name.

    Yields:
      The names of boundaries that are one place, in the order of the calls.
    """
    uses: dict[int, int] = collections.Counter()
    marks: list[tuple[str, int, int]] = []  # name, array before it, array behind it
    fresh = iter(range(1 << 62))

    def walk(jaxpr: Any, known: dict[Any, int]) -> list[int]:
        for variable in (*jaxpr.constvars, *jaxpr.invars):
            if variable not in known:
                known[variable] = next(fresh)

        def number(atom: Any) -> int:
            return next(fresh) if isinstance(atom, jax.extend.core.Literal) else known[atom]

        for equation in jaxpr.eqns:
            given = [number(atom) for atom in equation.invars]
            inner = list(_inner(equation))
            if equation.primitive.name in _INLINED and len(inner) == 1:
                known.update(
                    zip(
                        equation.outvars,
                        walk(inner[0], dict(zip(inner[0].invars, given, strict=True))),
                        strict=True,
                    )
                )
                continue
            for array in given:
                uses[array] += 1
            for part in inner:
                for array in walk(part, {}):
                    uses[array] += 1
            for variable in equation.outvars:
                known[variable] = next(fresh)
            label = str(equation.params.get("name", ""))
            if equation.primitive.name == "name" and label.startswith(LABEL):
                marks.append((label.removeprefix(LABEL), given[0], known[equation.outvars[0]]))
        return [number(atom) for atom in jaxpr.outvars]

    for array in walk(program.jaxpr, {}):
        uses[array] += 1
    # A module that is called again has a boundary for all its calls.
    counts = collections.Counter(name for name, _, _ in marks)
    behind = {before: (name, after) for name, before, after in marks if counts[name] == 1}
    followers = set()
    following: dict[str, str] = {}
    for name, _, after in marks:
        if counts[name] == 1 and uses[after] == 1 and after in behind:
            following[name] = behind[after][0]
            followers.add(behind[after][0])
    for name, _, _ in marks:
        if name in following and name not in followers:
            chain = [name]
            while chain[-1] in following:
                chain.append(following[chain[-1]])
            yield tuple(chain)


def _inner(equation: Any) -> Iterator[Any]:
    for value in equation.params.values():
        for part in value if isinstance(value, tuple | list) else (value,):
            if isinstance(part, jax.extend.core.ClosedJaxpr):
                yield part.jaxpr
            elif isinstance(part, jax.extend.core.Jaxpr):
                yield part
