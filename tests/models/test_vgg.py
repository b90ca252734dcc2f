import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flaxdrop import Placement, describe
from flaxdrop.models import VGG

SMALL = VGG(3, widths=(3, 4), units=5)
X = jnp.asarray(np.random.RandomState(1).rand(4, 11, 10, 2), jnp.float32)
OFF = Placement(dict.fromkeys(SMALL.slots, 0.0))
PLACES = [(slot, place) for slot in SMALL.slots for place in range(2)]
LAYERS = ("conv1_1", "conv1_2", "conv2_1", "conv2_2", "dense1", "dense2")


def shapes_of(model, image):
    return jax.eval_shape(lambda: model.init(jax.random.key(0), jnp.zeros((1, *image))))


def count(model, image=(32, 32, 3)):
    return sum(leaf.size for leaf in jax.tree.leaves(shapes_of(model, image)["params"]))


def at(slot, place, rate):
    """A placement that drops after one layer only."""
    return Placement({slot: np.eye(2, dtype=np.float32)[place] * rate})


@pytest.fixture
def variables(filled):
    return filled(SMALL, X)


@functools.partial(jax.jit, static_argnames="capture")
def train(variables, placement, seed=0, capture=False):
    logits, updated = SMALL.apply(
        variables,
        X,
        train=True,
        placement=placement,
        rngs={"dropout": jax.random.key(seed)},
        mutable=["batch_stats"],
        capture_intermediates=capture,
    )
    return (logits, updated["intermediates"]) if capture else logits


def test_it_has_exactly_the_published_parameters():
    assert count(VGG(10)) == 1_941_834
    assert count(VGG(10, units=1024)) == 3_260_746


@pytest.mark.parametrize("batch_norm", [False, True])
def test_it_has_the_parameters_of_its_layers(batch_norm):
    inputs, total = 3, 0
    for width in (32, 64, 128):
        total += 9 * inputs * width + 9 * width * width + 2 * width
        total += 2 * 2 * width * batch_norm
        inputs = width
    total += 4 * 128 * 512 + 512 * 512 + 2 * 512 + 2 * 2 * 512 * batch_norm + 512 * 10 + 10
    assert count(VGG(10, widths=(32, 64, 128), batch_norm=batch_norm)) == total


def test_without_norm_there_are_no_statistics():
    assert set(shapes_of(VGG(10, batch_norm=False), (32, 32, 3))) == {"params"}


@pytest.mark.parametrize(("blocks", "smallest"), [(1, 4), (2, 10), (3, 22)])
def test_the_smallest_image_leaves_one_pixel_and_a_smaller_one_is_refused(blocks, smallest):
    model = VGG(3, widths=(2,) * blocks, units=4)
    assert model.smallest_image == smallest
    shapes = shapes_of(model, (smallest, smallest, 1))
    assert shapes["params"]["dense1"]["linear"]["kernel"].shape == (2, 4)
    message = (
        rf"^image_size: must be at least {smallest} for {blocks} blocks, got 50x{smallest - 1}"
    )
    with pytest.raises(ValueError, match=message):
        shapes_of(model, (50, smallest - 1, 1))


def test_weights_start_as_in_keras():
    params = jax.jit(VGG(3, widths=(3,), units=5).init)(jax.random.key(0), X)["params"]
    for layer in ("conv1_1", "conv1_2", "dense1", "dense2"):
        linear = params[layer]["linear"]
        fans = np.prod(linear["kernel"].shape[:-2]) * np.array(linear["kernel"].shape[-2:])
        bound = np.sqrt(6 / fans.sum())
        assert 0.7 * bound < np.abs(linear["kernel"]).max() <= bound
        assert not linear["bias"].any()


# Slots.


def test_slots_and_their_places():
    assert VGG(10).slots == dict.fromkeys(("conv1", "conv2", "conv3", "dense"), 2)


def test_every_place_is_drawn():
    drawing = describe(SMALL, Placement.parse("conv2=0.2/0.5"), (10, 10, 2))
    assert drawing.count("(conv2") == 2
    assert [drawing.count(f"·{slot}·") for slot in ("conv1", "conv2", "dense")] == [2, 0, 2]


@pytest.mark.parametrize(("slot", "place"), PLACES)
def test_a_place_drops_after_the_relu_of_its_layer_and_nowhere_else(variables, slot, place):
    _, plain = train(variables, OFF, capture=True)
    _, dropped = train(variables, OFF | at(slot, place, 0.5), capture=True)
    i = PLACES.index((slot, place))
    for layer in LAYERS[:i]:
        chex.assert_trees_all_equal(dropped[layer], plain[layer])
    active = jax.nn.relu(plain[LAYERS[i]]["norm"]["__call__"][0])
    (out,) = dropped[LAYERS[i]]["__call__"]
    kept = out != 0
    assert 0 < kept.sum() < (active > 0).sum()
    chex.assert_trees_all_close(out, jnp.where(kept, 2 * active, 0), rtol=1e-5, atol=1e-6)


def test_both_layers_of_a_block_drop_at_the_one_rate_of_its_slot(variables):
    both = Placement({"conv2": 0.5})
    spelled = Placement({"conv2": np.array([0.5, 0.5], np.float32)})
    chex.assert_trees_all_equal(train(variables, OFF | both), train(variables, OFF | spelled))


def test_rate_one_everywhere_leaves_the_bias(variables):
    logits = train(variables, Placement(dict.fromkeys(SMALL.slots, 1.0)))
    bias = variables["params"]["classifier"]["bias"]
    chex.assert_trees_all_equal(logits, jnp.broadcast_to(bias, logits.shape))


def test_statistics_follow_the_batch_at_the_momentum(variables):
    old = variables["batch_stats"]["conv1_1"]["norm"]["mean"]
    fast, slow = (
        jax.jit(functools.partial(model.apply, train=True, mutable=["batch_stats"]))(variables, X)[
            1
        ]["batch_stats"]
        for model in (SMALL.clone(momentum=0.5), SMALL)
    )
    moved = [statistics["conv1_1"]["norm"]["mean"] - old for statistics in (fast, slow)]
    np.testing.assert_allclose(moved[0], 50 * moved[1], rtol=1e-3)  # .5 and .01 of the way
