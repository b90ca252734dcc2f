import re

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flaxdrop.describe import describe
from flaxdrop.models.densenet import LAYER_SLOTS, TRANSITION_SLOTS, DenseNet
from flaxdrop.placement import Placement

TINY = DenseNet(depth=(2, 1), num_classes=5, growth=4, stem="cifar")


@pytest.fixture(scope="module")
def tiny():
    """Variables of TINY, with random kernels and norms as they are initially, and images."""
    random = np.random.default_rng(0)
    initial = {"scale": np.ones, "var": np.ones, "bias": np.zeros, "mean": np.zeros}

    def draw(path, leaf):
        if (name := path[-1].key) != "kernel":
            return jnp.asarray(initial[name](leaf.shape), leaf.dtype)
        size = np.prod(leaf.shape[:-1]) ** -0.5
        return jnp.asarray(random.normal(0, size, leaf.shape), leaf.dtype)

    x = jnp.asarray(random.standard_normal((4, 6, 6, 3)), jnp.float32)
    return jax.tree_util.tree_map_with_path(draw, variables_of(TINY, 6)), x


@pytest.fixture(scope="module")
def gradients(tiny):
    """The gradients of TINY's parameters, given the rates of every slot."""
    variables, x = tiny

    @jax.jit
    def gradients(rates):
        def loss(params):
            run = {**variables, "params": params}
            rngs = {"dropout": jax.random.key(2)}
            return jnp.sum(TINY.apply(run, x, placement=Placement(rates), rngs=rngs) ** 2)

        return jax.grad(loss)(variables["params"])

    return gradients


def no_rates():
    return {slot: np.zeros(places, np.float32) for slot, places in TINY.slots.items()}


def variables_of(model, side):
    images = jax.ShapeDtypeStruct((1, side, side, 3), jnp.float32)
    return jax.eval_shape(model.init, jax.random.key(0), images)


def count(tree):
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


@pytest.mark.parametrize(
    ("depth", "parameters"),
    [(121, 7_978_856), (161, 28_681_000), (169, 14_149_480), (201, 20_013_928)],
)
def test_parameters_for_imagenet(depth, parameters):
    assert count(variables_of(DenseNet(depth, num_classes=1000), 224)["params"]) == parameters


def test_parameters_without_classifier_as_keras_counts_them():
    assert count(variables_of(DenseNet(121, num_classes=0), 224)) == 7_037_504


def test_parameters_of_the_paper_s_network_for_cifar():
    assert count(variables_of(DenseNet(100, 10, stem="cifar"), 32)["params"]) == 769_162


@pytest.mark.parametrize(("stem", "side"), [("imagenet", 4), ("cifar", 16)])
def test_side_of_the_last_images(stem, side):
    model = DenseNet((1, 1), 10, growth=4, stem=stem)

    def layers(x):
        return model.init(jax.random.key(0), x, capture_intermediates=True)["intermediates"]

    shapes = jax.eval_shape(layers, jnp.zeros((1, 32, 32, 3)))
    [last] = shapes["block2_layer1"]["__call__"]
    assert last.shape[1:3] == (side, side)


@pytest.mark.parametrize("depth", [40, (), (2, 0)])
def test_unknown_depth_for_imagenet(depth):
    with pytest.raises(ValueError, match=f"depth: .* got {re.escape(str(depth))}"):
        _ = DenseNet(depth, 10).slots


@pytest.mark.parametrize("depth", [4, 121])
def test_unknown_depth_for_cifar(depth):
    with pytest.raises(ValueError, match=f"depth: must be 6n \\+ 4 .* got {depth}"):
        _ = DenseNet(depth, 10, stem="cifar").slots


def test_unknown_stem():
    with pytest.raises(ValueError, match="stem: unknown 'tiny', choose imagenet or cifar"):
        variables_of(DenseNet(121, 10, stem="tiny"), 32)


def test_slots_of_the_head_go_with_the_classifier():
    assert TINY.slots.keys() - TINY.clone(num_classes=0).slots.keys() == {"h5", "logits"}


def test_one_block_has_no_transition():
    model = DenseNet((3,), 10, growth=4, stem="cifar")
    assert model.slots.keys().isdisjoint(TRANSITION_SLOTS)
    assert "transition" not in model.layout
    assert variables_of(model, 8)["params"].keys().isdisjoint({"transition1"})


@pytest.mark.parametrize("model", [TINY, TINY.clone(num_classes=0), DenseNet(121, 1000)])
def test_every_slot_is_drawn_once(model):
    drawn = describe(model)
    assert {slot: drawn.count(f"·{slot}·") for slot in model.slots} == dict.fromkeys(model.slots, 1)


# Initial norms map 0 to 0: whatever a layer drops, nothing flows through its convolutions.
@pytest.mark.parametrize("slot", LAYER_SLOTS)
@pytest.mark.parametrize("place", range(3))
def test_rate_of_a_layer_reaches_this_layer_only(gradients, slot, place):
    rates = no_rates()
    rates[slot][place] = 1
    found = gradients(rates)
    layers = ["block1_layer1", "block1_layer2", "block2_layer1"]
    alive = [bool(jnp.any(found[layer]["conv1"]["kernel"])) for layer in layers]
    assert alive == [number != place for number in range(3)]


@pytest.mark.parametrize("slot", TRANSITION_SLOTS)
def test_rate_of_a_transition_cuts_what_comes_before_it(gradients, slot):
    rates = no_rates()
    rates[slot] = np.ones(1, np.float32)
    found = gradients(rates)
    assert not jnp.any(found["transition1"]["conv"]["kernel"])
    assert not jnp.any(found["stem"]["kernel"])


@jax.jit
def dropped_logits(variables, x, placement):
    return TINY.apply(variables, x, placement=placement, rngs={"dropout": jax.random.key(0)})


@pytest.mark.parametrize("slot", ["h4", "h5"])
def test_without_features_the_bias_is_left(tiny, slot):
    variables, x = tiny
    classifier = {**variables["params"]["classifier"], "bias": jnp.arange(5.0)}
    variables = {**variables, "params": {**variables["params"], "classifier": classifier}}
    placement = Placement({slot: 1.0})
    logits = dropped_logits(variables, x, placement)
    chex.assert_trees_all_equal(logits, jnp.tile(jnp.arange(5.0), (4, 1)))


def test_logits_may_drop(tiny):
    variables, x = tiny
    logits = dropped_logits(variables, x, Placement({"logits": 1.0}))
    assert logits.shape == (4, 5)
    assert not jnp.any(logits)


def test_features_are_what_the_classifier_sees(tiny):
    variables, x = tiny
    params = dict(variables["params"])
    classifier = params.pop("classifier")
    features = TINY.clone(num_classes=0).apply({**variables, "params": params}, x)
    np.testing.assert_allclose(
        features.mean((1, 2)) @ classifier["kernel"] + classifier["bias"],
        TINY.apply(variables, x),
        atol=1e-6,
    )


@pytest.mark.parametrize(
    ("stem", "blocks", "smallest"), [("imagenet", 4, 29), ("imagenet", 1, 1), ("cifar", 3, 4)]
)
def test_images_are_as_large_as_its_stages_need(stem, blocks, smallest):
    model = DenseNet((1,) * blocks, num_classes=3, growth=2, stem=stem)
    assert model.smallest_image == smallest

    def init(side):
        return jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, side, 40, 3)))

    init(smallest)
    features = model.clone(num_classes=0)
    x = jnp.zeros((1, smallest, 40, 3))
    out, _ = jax.eval_shape(features.init_with_output, jax.random.key(0), x)
    assert out.shape[1] == 1
    with pytest.raises(ValueError, match=f"^image_size: must be at least {smallest} for {blocks}"):
        init(smallest - 1)
