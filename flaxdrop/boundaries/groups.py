"""Groups of the boundaries of a network: those that are alike in repeated blocks."""

import collections
import sys
from collections.abc import Iterable, Iterator
from typing import Any

import flax.linen as nn

from flaxdrop.boundaries.patterns import matcher
from flaxdrop.boundaries.tracing import Boundary, Path, numbers, starred

_LINEN = (nn.Conv, nn.ConvLocal, nn.ConvTranspose, nn.Dense, nn.DenseGeneral, nn.Einsum)
_NNX = ("Conv", "ConvTranspose", "Linear", "LinearGeneral", "Einsum")


def has_weights(kind: type) -> bool:
    """Whether it is a class of convolutions or dense layers, of Linen or of NNX."""
    # There is none of NNX where NNX was not imported, which takes a third of a second.
    nnx = sys.modules.get("flax.nnx")
    return issubclass(kind, (*_LINEN, *(getattr(nnx, name) for name in _NNX if nnx)))


def group_names(boundaries: Iterable[Boundary]) -> dict[str, str]:
    """Finds the boundaries that are alike in repeated modules.

    Their names differ in the numbers of the blocks around them, or in their own if they are blocks.
    The numbers of layers tell them apart, as of Conv_0 and Conv_1, or of the ConvBlock_0 and
    ConvBlock_1 in a block, which have a single layer of weights each.

    Returns:
      Name of a boundary -> name of its group, a pattern that names its members and no others.
    """
    boundaries = list(boundaries)
    inside = collections.defaultdict(set)  # path -> layers of weights inside
    around = set()
    for boundary in boundaries:
        above = [boundary.path[:i] for i in range(len(boundary.path))]
        around.update(above)
        if has_weights(boundary.kind):
            for path in above:
                inside[path].add(boundary.path)

    def words(path: Path) -> Iterator[str]:
        in_block = False
        for i, part in enumerate(path):
            own = path[: i + 1]
            repeated = own in around and (not in_block or len(inside[own]) > 1)
            in_block |= repeated and starred(part) != part
            yield starred(part) if repeated else part

    groups: dict[tuple[Any, ...], list[str]] = {}
    for boundary in boundaries:
        key = (*words(boundary.path), boundary.side, boundary.kind)
        groups.setdefault(key, []).append(boundary.name)
    every = [boundary.name for boundary in boundaries]
    names = {}
    for members in groups.values():
        for shared in (_with_stars(members), _with_range(members)):
            if set(filter(matcher(shared), every)) == set(members):
                names.update(dict.fromkeys(members, shared))
                break
        else:
            names.update({member: member for member in members})
    return names


def _with_stars(names: list[str]) -> str:
    """What alike names have in common, with stars where their numbers differ."""
    columns = zip(*map(numbers, names), strict=True)
    return _filled(names[0], [str(column[0]) if len({*column}) == 1 else "*" for column in columns])


def _with_range(names: list[str]) -> str:
    """The same, with the first and last number in the place of a star."""
    columns = zip(*map(numbers, names), strict=True)
    return _filled(
        names[0],
        [
            str(column[0]) if len({*column}) == 1 else f"[{min(column)}-{max(column)}]"
            for column in columns
        ],
    )


def _filled(name: str, fillers: list[str]) -> str:
    pieces = starred(name).split("*")
    return "".join(piece + filler for piece, filler in zip(pieces, [*fillers, ""], strict=True))
