import chex
import jax
import jax.numpy as jnp
import pytest

from flaxdrop import Placement
from flaxdrop.models import PreResNet

KEY = jax.random.key(2)


def shapes_of(model, image=(8, 8, 3)):
    return jax.eval_shape(lambda: model.init(jax.random.key(0), jnp.zeros((1, *image))))


def count(model):
    return sum(leaf.size for leaf in jax.tree.leaves(shapes_of(model)["params"]))


# Size.


def test_preresnet_110_has_exactly_the_published_number_of_parameters():
    assert count(PreResNet(110, 10)) == 1_730_522
    assert count(PreResNet(110, 100)) == 1_736_372


@pytest.mark.parametrize(
    ("depth", "sizes", "keras", "statistics"),
    [
        (50, (3, 4, 6, 3), 25_613_800, 45_440),
        (101, (3, 4, 23, 3), 44_675_560, 97_664),
        (152, (3, 8, 36, 3), 60_380_648, 143_744),
    ],
)
def test_those_for_imagenet_have_the_parameters_of_keras_but_for_biases(
    depth, sizes, keras, statistics
):
    """Its ResNet50V2 has biases in the stem, the last convolutions and the projections."""
    model = PreResNet(depth, 1000, "bottleneck", stem="imagenet")
    assert model.stage_sizes == sizes
    outputs = [4 * width for width in model.stage_widths]
    biases = 64 + sum(size * out for size, out in zip(sizes, outputs, strict=True)) + sum(outputs)
    assert count(model) == keras - statistics - biases
    shapes = shapes_of(model, (224, 224, 3))
    assert sum(leaf.size for leaf in jax.tree.leaves(shapes["batch_stats"])) == statistics


def test_preresnet_50_has_exactly_the_published_number_of_parameters():
    assert count(PreResNet(50, 1000, "bottleneck", stem="imagenet")) == 25_549_352


@pytest.mark.parametrize("depth", [164, 1001])
def test_bottlenecks_have_the_parameters_of_their_layers(depth):
    channels, total = 16, 9 * 3 * 16
    for width in (16, 32, 64):
        for block in range((depth - 2) // 9):
            norms = 2 * channels + 2 * width + 2 * width
            total += norms + channels * width + 9 * width * width + width * 4 * width
            total += channels * 4 * width if block == 0 else 0
            channels = 4 * width
    total += 2 * channels + channels * 10 + 10
    assert count(PreResNet(depth, 10, block="bottleneck")) == total


@pytest.mark.parametrize("depth", [20, 32, 44, 56, 1202])
def test_the_depths_of_the_literature_exist(depth):
    model = PreResNet(depth, 10)
    assert model.stage_sizes == ((depth - 2) // 6,) * 3
    assert sorted(shapes_of(model)) == ["batch_stats", "params"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"depth": 9}, r"^depth: must be 6n \+ 2 with basic blocks \(8, 14, 20, ...\), got 9$"),
        ({"depth": 2}, r"^depth: must be 6n \+ 2 .*, got 2$"),
        ({"depth": -4}, r"^depth: must be 6n \+ 2 .*, got -4$"),
        (
            {"depth": 44, "block": "bottleneck"},
            r"^depth: must be 9n \+ 2 with bottleneck blocks \(11, 20, 29, ...\), got 44$",
        ),
        ({"depth": 8, "widths": (4, 8)}, r"^depth: must be 4n \+ 2 .* \(6, 10, 14, ...\), got 8$"),
        ({"depth": 8, "block": "wide"}, r"^block: unknown 'wide', choose basic or bottleneck$"),
        ({"depth": 8, "stem": "patch"}, r"^stem: unknown 'patch', choose imagenet or cifar$"),
        ({"depth": 50, "stem": "imagenet"}, r"^depth: must be one of 50, 101, 152 with bottleneck"),
        ({"depth": (2, 0, 1)}, r"^depth: must be the blocks of each of 3 stages, got \(2, 0, 1\)$"),
        ({"depth": (2, 1)}, r"^depth: must be the blocks of each of 3 stages, got \(2, 1\)$"),
    ],
)
def test_what_does_not_exist_is_refused_in_one_line(options, message):
    model = PreResNet(num_classes=10, **options)
    with pytest.raises(ValueError, match=message):
        _ = model.slots
    with pytest.raises(ValueError, match=message[:-1]) as refused:
        shapes_of(model)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("model", "image"),
    [
        (PreResNet(4, 2, widths=(3,)), (8, 8, 1)),
        (PreResNet(6, 7, widths=(5, 3)), (9, 6, 4)),
        (PreResNet(11, 3, block="bottleneck"), (28, 28, 1)),
        (PreResNet(10, 3, widths=(4, 6, 8, 10)), (64, 32, 3)),
    ],
)
def test_widths_image_size_channels_and_classes_are_free(model, image):
    placement = Placement(dict.fromkeys(model.slots, 0.5))
    variables = shapes_of(model, image)
    logits = jax.eval_shape(
        lambda variables, x: model.apply(variables, x, placement=placement, rngs={"dropout": KEY}),
        variables,
        jnp.zeros((2, *image)),
    )
    chex.assert_shape(logits, (2, model.num_classes))
    assert variables["params"]["stem"]["kernel"].shape == (3, 3, image[-1], model.stage_widths[0])


# Training and inference.


def test_unrolled_equals_scanned(small):
    unrolled, key = small.model.clone(unroll=2), jax.random.key(2)
    placement = Placement({"p6": 0.5})
    apply = jax.jit(lambda v: unrolled.apply(v, small.x, False, placement, rngs={"dropout": key}))
    chex.assert_trees_all_close(apply(small.variables), small.infer(placement), atol=1e-5)
