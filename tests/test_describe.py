import itertools
from collections.abc import Mapping

import flax.linen as nn
import jax
import pytest

from flaxdrop import Placement, describe
from flaxdrop.models import PreResNet

MODELS = [
    PreResNet(8, 10, widths=(4, 8, 16)),
    PreResNet(11, 10, block="bottleneck", widths=(4, 8, 16)),
]
EITHER = pytest.mark.parametrize("model", MODELS, ids=lambda model: model.block)


class Own(nn.Module):
    """A family of a user's own."""

    @property
    def slots(self) -> Mapping[str, int]:
        return {"conv": 1, "dense": 1}

    @property
    def layout(self) -> Mapping[str, str]:
        return {"all": "Conv -> {conv} -> Dense -> {dense}"}

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        return nn.Dense(2)(nn.Conv(3, (3, 3))(x))


@EITHER
def test_every_slot_is_drawn_exactly_once(model):
    words = describe(model).split()
    assert sorted(word for word in words if "·" in word) == sorted(f"·{s}·" for s in model.slots)


@EITHER
def test_every_slot_shows_its_rate_and_the_others_none(model):
    rates = itertools.cycle(["0.125", "0..0.5", "0.25:channel"])
    for slot, rate in zip(model.slots, rates, strict=False):
        drawing = describe(model, Placement.parse(f"{slot}={rate}"))
        assert drawing.count(f"({slot}={rate})") == 1
        assert drawing.count("(") == 1
        assert f"·{slot}·" not in drawing
        assert drawing.count("·") == 2 * (len(model.slots) - 1)


@EITHER
def test_depth_blocks_widths_and_parameters_are_told(model):
    head = describe(model, image_shape=(8, 8, 1)).split("block  ")[0]
    shapes = jax.eval_shape(model.init, jax.random.key(0), jax.numpy.zeros((1, 8, 8, 1)))
    parameters = sum(leaf.size for leaf in jax.tree.leaves(shapes["params"]))
    for words in (
        f"PreResNet: {parameters:,} parameters for images of 8x8x1\n",
        f"depth {model.depth}:",
        f"3 stages of {model.stage_sizes[0]} {model.block} blocks",
        "widths 4-8-16",
    ):
        assert words in head


def test_the_slots_stand_where_the_block_has_them():
    drawing = " ".join(describe(MODELS[0], Placement.parse("p6=0.1")).split())
    assert "·p5· -> ReLU -> (p6=0.1) -> Conv3x3 -> ·p7· ] + ·shortcut· -> ·post_add·" in drawing
    assert "·p2· -> ReLU -> ·p3· -> Conv3x3 -> ·p4· -> BN -> ·p5·" in drawing
    assert "ReLU -> ·h4· -> mean over pixels -> ·h5· -> Dense -> ·logits·" in drawing


@EITHER
def test_lines_fit_a_terminal_and_lose_nothing(model):
    drawing = describe(model)
    assert max(map(len, drawing.splitlines())) <= 80
    chains = " ".join(model.layout.values()).replace("{", "·").replace("}", "·")
    assert [word for word in drawing.split("\n", 1)[1].split() if word not in model.layout] == [
        word for word in chains.split() if word not in model.layout
    ]


def test_a_network_of_ones_own_describes_itself():
    drawing = describe(Own(), Placement.parse("dense=0.5"), image_shape=(4, 4, 1))
    assert drawing == (
        "Own: 38 parameters for images of 4x4x1\nall  Conv -> ·conv· -> Dense -> (dense=0.5)"
    )


@pytest.mark.parametrize(
    ("placement", "message"),
    [
        (Placement({"p9": 0.1}), r"^placement: unknown slot 'p9', this network has p0, .*$"),
        (Placement({"p6": 1.5}), r"^placement: the rate of 'p6': must be in \[0, 1\], got 1.5$"),
        (Placement.parse("p6=0.1/0.2"), r"^placement: slot 'p6' has 3 places, got 2 rates$"),
    ],
)
def test_what_the_network_cannot_follow_is_refused(placement, message):
    with pytest.raises(ValueError, match=message):
        describe(MODELS[0], placement)


class Silent(nn.Module):
    """A network that does not say which slots it has."""

    slots: tuple[str, ...] = ("conv",)

    def __call__(self, x: jax.Array) -> jax.Array:
        return x


def test_networks_and_placements_that_cannot_be_drawn():
    with pytest.raises(ValueError, match=r"^model: Silent must have slots, a property that maps"):
        describe(Silent())
    with pytest.raises(ValueError, match=r"^model: Dense must have slots, "):
        describe(nn.Dense(3))
    with pytest.raises(ValueError, match=r"^placement: must be a Placement, got 'p6=0.1'"):
        describe(MODELS[0], "p6=0.1")


@pytest.mark.parametrize("shape", [(1, 32, 32, 3), (32, 32), (0, 32, 3)])
def test_images_that_cannot_be(shape):
    with pytest.raises(ValueError, match=r"^image_shape: must be \(H, W, C\).* got \("):
        describe(PreResNet(depth=8, num_classes=10, widths=(8,)), image_shape=shape)
