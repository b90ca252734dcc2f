"""Groups of the boundaries of a network: those that are alike in repeated blocks."""

from collections.abc import Iterable
from typing import Any

from flaxdrop.boundaries import Boundary, numbers, starred
from flaxdrop.patterns import matcher


def group_names(boundaries: Iterable[Boundary]) -> dict[str, str]:
    """Finds the boundaries that are alike in repeated modules.

    Their names differ in the numbers of the modules around them, or in their own if these have
    modules inside. The numbers of layers tell them apart, as of Conv_0 and Conv_1.

    Returns:
      Name of a boundary -> name of its group, a pattern that names its members and no others.
    """
    boundaries = list(boundaries)
    around = {boundary.path[:i] for boundary in boundaries for i in range(len(boundary.path))}
    groups: dict[tuple[Any, ...], list[str]] = {}
    for boundary in boundaries:
        repeated = len(boundary.path) - (boundary.path not in around)
        key = (
            *(starred(part) for part in boundary.path[:repeated]),
            *boundary.path[repeated:],
            boundary.side,
            boundary.kind,
        )
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
