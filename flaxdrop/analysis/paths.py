"""Paths of modules in a network, and what its variables have there."""

import functools
import re
from collections.abc import Collection, Mapping
from typing import Any

import jax

Path = tuple[str, ...]


def at(tree: Any, path: Path) -> Any:
    """The part of a nested dict at a path."""
    return functools.reduce(lambda part, name: part[name], path, tree)


def beside(statistics: Any, paths: Collection[Path]) -> dict[Path, Any]:
    """The leaves of `batch_stats` that none of these modules has, by path."""
    others = {}
    for keys, leaf in jax.tree_util.tree_leaves_with_path(statistics):
        place = tuple(jax.tree_util.keystr((key,), simple=True) for key in keys)
        if not any(place[: len(path)] == path for path in paths):
            others[place] = leaf
    return others


def name_of(path: Path) -> str:
    """A path as it is printed."""
    return "/".join(path) or "the network itself"


def paths_with(leaf: str, tree: Any, path: Path = ()) -> list[Path]:
    """The paths in a nested dict below which there is a leaf of this name."""
    if not isinstance(tree, Mapping):
        return []
    if leaf in tree:
        return [path]
    return [found for name in tree for found in paths_with(leaf, tree[name], (*path, name))]


def in_calling_order(seen: list[Path], every: list[Path]) -> list[Path]:
    """Puts paths in the order of their calls.

    Args:
      seen: the paths whose calls were seen, in their order.
      every: all paths. `nn.jit` traces alike modules once: those that were not seen differ from one
        that was in their numbers alone, and stand behind it.
    """

    def split(path: Path) -> tuple[list[int], str]:
        name = "/".join(path)
        return [int(number) for number in re.findall(r"\d+", name)], re.sub(r"\d+", "", name)

    order = list(seen)
    for path in sorted(set(every) - set(seen), key=split):
        alike = [i for i, other in enumerate(order) if split(other)[1] == split(path)[1]]
        order.insert(alike[-1] + 1 if alike else len(order), path)
    return order
