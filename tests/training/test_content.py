"""What a config and a seed draw is held to the version that names it."""

import zlib

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import flaxdrop
from flaxdrop.data.dataset import stratified_order
from flaxdrop.placement import Placement
from flaxdrop.training import steps
from flaxdrop.training.content import NUMERICS
from flaxdrop.training.recipe import Recipe
from flaxdrop.training.steps import Cell, Images, Task

# What a version draws, as CRC-32 of whole numbers. Where one differs, raise NUMERICS and put the
# new version with what is found in the place of this one.
VERSION = 2
DRAWN = {
    "initial weights": 3212514746,
    "order of the examples": 2946646408,
    "part of the examples": 4227455854,
    "crop and flip": 3108152724,
    "element mask": 1198811433,
    "channel mask": 747085091,
    "block3 mask": 2657712869,
    "sample mask": 1463631663,
}
MASKS = ("element", "channel", "block3", "sample")


class Masks(nn.Module):
    """Puts what dropout makes of ones where batch statistics are."""

    @property
    def slots(self):
        return dict.fromkeys(MASKS, 1)

    @nn.compact
    def __call__(self, x, train=False, placement=None):
        del train  # nothing differs
        for mask in MASKS:
            kept = flaxdrop.Dropout(mask)(jnp.ones((8, 8, 8, 4)), placement)
            self.variable("batch_stats", mask, jnp.zeros, kept.shape).value = kept
        return nn.Dense(10)(x.mean(axis=(1, 2)))


@pytest.fixture(scope="module")
def drawn():
    """What the present code draws -> whole numbers."""
    x = np.arange(30 * 6 * 6 * 3).reshape(30, 6, 6, 3) % 251
    y = np.arange(30, dtype=np.int32) % 10
    mean, std = np.zeros(3, np.float32), np.full(3, 1 / 255, np.float32)  # pixels stay as they are
    images = Images(*map(jnp.asarray, (x.astype(np.uint8), y, x.astype(np.uint8), y, mean, std)))
    task = Task(Masks(), Recipe(epochs=3, batch=8, crop=2, flip=True), examples=30)
    placement = Placement(dict.fromkeys(MASKS, 0.3), {mask: mask for mask in MASKS})
    cell = Cell(key=jax.random.key(5), placement=placement.broadcast(task.model.slots))

    @jax.jit
    def draw():
        state = steps.initial_state(task, images, cell).replace(step=jnp.int32(4))
        x, y = steps.training_batch(task, images, cell, state.step)
        order = steps.examples_of_step(task, cell, state.step)
        return state.params, order, x, steps.update(task, cell, x, y, state).batch_stats

    params, order, x, kept = draw()
    return {
        "initial weights": 1024 * params["Dense_0"]["kernel"],  # coarse: roundings may differ
        "order of the examples": order,
        "part of the examples": stratified_order(np.arange(300) % 10, 1)[:100],
        "crop and flip": x,
        **{f"{mask} mask": kept[mask] > 0 for mask in MASKS},
    }


@pytest.mark.parametrize("name", DRAWN)
def test_what_a_seed_draws_changes_with_the_version_alone(drawn, name):
    assert NUMERICS == VERSION, "put what this version draws in the place of the last one's"
    whole = np.rint(np.asarray(drawn[name], np.float64)).astype("<i4")
    assert len(np.unique(whole)) > 1
    found = zlib.crc32(whole.tobytes())
    assert found == DRAWN[name], f"raise NUMERICS: {name} draws {found}"
