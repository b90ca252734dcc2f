"""The words of the masks, along every axis that they differ in.

As a network draws them: the key of a cell's seed and a step (`flaxdrop.training.steps`), the name
of a slot (`flaxdrop.dropout`), the index of an element.
"""

import functools

import jax
import numpy as np

from flaxdrop import hashing
from flaxdrop.training.steps import DROPOUT
from tests.torture.batteries import Battery

BLOCK = 1 << 20  # words
_ALONG = 1 << 12  # steps, slots or seeds on end, at the same element
AXES = ("element", "slot", "step", "seed")


@functools.partial(jax.jit, static_argnames="elements")
def draw(seeds: jax.Array, steps: jax.Array, names: jax.Array, elements: int) -> jax.Array:
    """The words of masks.

    Args:
      seeds: int32 `[masks]`, of the cells.
      steps: int32 `[masks]`.
      names: uint32 `[masks]`, the numbers of the slots' names.
      elements: of each mask.

    Returns:
      uint32 `[masks, elements]`.
    """

    def mask(seed: jax.Array, step: jax.Array, name: jax.Array) -> jax.Array:
        key = jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), DROPOUT), step)
        return hashing.bits(hashing.fold_in(hashing.key_to_words(key), name), (elements,))

    return jax.vmap(mask)(seeds, steps, names)


@functools.cache
def _names() -> np.ndarray:
    paths = [(f"block{i}", f"{slot}_dropout") for i in range(_ALONG // 8) for slot in "abcdefgh"]
    return np.array([hashing.name_word(*path) for path in paths], np.uint32)


def block(axis: str, number: int) -> np.ndarray:
    """Words in an order in which one thing changes from each to the next.

    Args:
      axis: of `AXES`: what changes.
      number: of the block; all blocks have other words.

    Returns:
      uint32 `[BLOCK]`.
    """
    along = np.arange(_ALONG)
    seeds, steps = np.full(_ALONG, number), np.full(_ALONG, number % 1000)
    names = np.full(_ALONG, hashing.name_word("stage1_first", "p6_dropout"), np.uint32)
    if axis == "element":
        return np.asarray(draw(seeds[:1], steps[:1], names[:1], BLOCK))[0]
    if axis == "slot":
        names = _names()
    elif axis == "step":
        steps = along
    else:
        seeds = number * _ALONG + along
    return np.asarray(draw(seeds, steps, names, BLOCK // _ALONG)).T.ravel()


class MaskWords:
    """The batteries of all axes.

    Attributes:
      batteries: axis -> what was counted along it.
    """

    def __init__(self) -> None:
        self.batteries = {axis: Battery() for axis in AXES}
        self._blocks = 0

    def add(self, blocks: int) -> None:
        """Counts so many blocks along each axis."""
        for axis, battery in self.batteries.items():
            for number in range(self._blocks, self._blocks + blocks):
                battery.add(block(axis, number))
        self._blocks += blocks

    def faults(self) -> dict[str, str]:
        """What perfect words do not give, by axis; empty: nothing."""
        found = {axis: battery.alarms() for axis, battery in self.batteries.items()}
        return {axis: str(alarms) for axis, alarms in found.items() if alarms}

    @property
    def words(self) -> int:
        """How many were counted."""
        return sum(battery.words for battery in self.batteries.values())
