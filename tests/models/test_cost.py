import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest

from flaxdrop.models import PreResNet
from flaxdrop.models.cost import flops_per_image


def preresnet_flops(blocks, widths, side, channels, classes):
    """Two for each multiply-add of the basic network, by hand."""
    total = side * side * 9 * channels * widths[0]
    before = widths[0]
    for stage, width in enumerate(widths):
        side = side if stage == 0 else -(-side // 2)
        pixels = side * side
        total += pixels * 9 * before * width + pixels * 9 * width * width
        total += (blocks - 1) * 2 * pixels * 9 * width * width
        total += pixels * before * width if stage else 0
        before = width
    return 2 * (total + before * classes)


@pytest.mark.parametrize("depth", [8, 20, 110])
def test_preresnet_costs_what_its_layers_do(depth):
    model = PreResNet(depth, num_classes=10)
    blocks = (depth - 2) // 6
    assert flops_per_image(model, (32, 32, 3)) == preresnet_flops(blocks, (16, 32, 64), 32, 3, 10)


def test_image_channels_widths_and_unrolling():
    model = PreResNet(14, num_classes=7, widths=(4, 8, 16), unroll=2)
    assert flops_per_image(model, (9, 9, 1)) == preresnet_flops(2, (4, 8, 16), 9, 1, 7)


def test_grouped_and_strided_convolutions():
    grouped = nn.Conv(8, (3, 3), strides=2, feature_group_count=4, padding="VALID")
    assert flops_per_image(grouped, (9, 9, 4)) == 2 * 4 * 4 * 8 * 9


def test_what_a_loop_does_counts_every_time():
    class Looped(nn.Module):
        @nn.compact
        def __call__(self, x):
            kernel = self.param("kernel", nn.initializers.ones, (6, 6))
            return jax.lax.scan(lambda x, _: (x @ kernel, None), x, jnp.arange(5))[0]

    assert flops_per_image(Looped(), (6,)) == 5 * 2 * 6 * 6


def test_of_branches_the_dearest_counts():
    class Either(nn.Module):
        @nn.compact
        def __call__(self, x):
            kernel = self.param("kernel", nn.initializers.ones, (6, 6))
            ways = (lambda x: x, lambda x: x @ kernel, lambda x: x @ kernel @ kernel)
            return jax.lax.switch(jnp.int32(x[0, 0] > 0), ways, x)

    assert flops_per_image(Either(), (6,)) == 2 * 2 * 6 * 6


def test_batched_products():
    class Attention(nn.Module):
        @nn.compact
        def __call__(self, x):
            return jnp.einsum("nqc,nkc->nqk", x, x)

    assert flops_per_image(Attention(), (7, 5)) == 2 * 7 * 7 * 5


def test_element_wise_work_is_not_counted():
    assert flops_per_image(nn.Sequential([nn.relu, jnp.tanh]), (6, 6, 3)) == 0


def test_what_a_platform_does_its_own_way_counts_as_the_plain_way():
    class Own(nn.Module):
        @nn.compact
        def __call__(self, x):
            kernel = self.param("kernel", nn.initializers.ones, (6, 6))

            def padded(x):
                return (jnp.pad(x, ((0, 0), (0, 6))) @ jnp.pad(kernel, ((0, 6), (0, 6))))[:, :6]

            return jax.lax.platform_dependent(x, cpu=padded, default=lambda x: x @ kernel)

    assert flops_per_image(Own(), (6,)) == 2 * 6 * 6
