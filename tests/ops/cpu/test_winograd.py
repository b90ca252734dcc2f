import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from flaxdrop.ops.convolution import conv_general_dilated
from flaxdrop.ops.cpu import winograd

pytestmark = pytest.mark.optimised

LAYOUT = ("NHWC", "HWIO", "NHWC")


def arrays(*shapes):
    """Scaled so that every sum over a kernel has variance about one."""
    random = np.random.RandomState(0)
    image, kernel = shapes
    scale = np.sqrt(np.prod(kernel[:-1]))
    return [
        jnp.asarray(random.randn(*image), jnp.float32),
        jnp.asarray(random.randn(*kernel) / scale, jnp.float32),
    ]


def plain(x, kernel, padding):
    return lax.conv_general_dilated(x, kernel, (1, 1), padding, dimension_numbers=LAYOUT)


@pytest.mark.parametrize("size", [(8, 6), (7, 9), (3, 4)])
@pytest.mark.parametrize("pads", [((0, 0), (0, 0)), ((1, 1), (1, 1)), ((2, 0), (1, 2))])
def test_it_is_the_convolution(size, pads):
    x, kernel = arrays((2, *size, 5), (3, 3, 5, 7))
    got = jax.jit(lambda x, k: winograd.convolve(x, winograd.transform_kernel(k), pads))(x, kernel)
    chex.assert_trees_all_close(got, plain(x, kernel, pads), atol=1e-5, rtol=1e-5)


def test_whole_numbers_are_exact():
    # Halves and quarters of small whole numbers have no rounding error.
    random = np.random.RandomState(0)
    x = jnp.asarray(random.randint(-8, 9, (2, 6, 6, 3)), jnp.float32)
    kernel = jnp.asarray(random.randint(-8, 9, (3, 3, 3, 4)), jnp.float32)
    got = winograd.convolve(x, winograd.transform_kernel(kernel), ((1, 1), (1, 1)))
    chex.assert_trees_all_equal(got, plain(x, kernel, "SAME"))


@pytest.mark.parametrize("channels", [(48, 33), (72, 80)])
@pytest.mark.parametrize(
    ("size", "padding"), [((8, 8), "SAME"), ((7, 5), "VALID"), ((7, 5), ((2, 2), (0, 1)))]
)
def test_a_wide_convolution_and_its_gradients_are_the_plain_ones(channels, padding, size):
    x, kernel = arrays((24, *size, channels[0]), (3, 3, *channels))

    @jax.jit
    def both(x, kernel):
        def all_of(conv):
            y, pullback = jax.vjp(conv, x, kernel)
            dx, dkernel = pullback(jnp.cos(jnp.arange(y.size, dtype=y.dtype)).reshape(y.shape))
            return y, dx, dkernel

        return all_of(lambda x, k: conv_general_dilated(x, k, (1, 1), padding)), all_of(
            lambda x, k: plain(x, k, padding)
        )

    for got, expected in zip(*both(x, kernel), strict=True):
        np.testing.assert_allclose(got, expected, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize(
    ("channels", "side", "dtype", "used"),
    [
        (48, 8, jnp.float32, True),
        (32, 8, jnp.float32, False),  # no gain
        (48, 1, jnp.float32, False),  # a tile for one pixel
        (48, 8, jnp.bfloat16, False),  # no digits to spare
    ],
)
def test_where_it_pays(channels, side, dtype, used):
    x = jnp.zeros((12, side, 8, channels), dtype)
    kernel = jnp.zeros((3, 3, channels, channels), dtype)

    def products(x, kernel):
        return conv_general_dilated(x, kernel, (1, 1), "SAME")

    lowered = jax.jit(products).lower(x, kernel).as_text()
    assert ("dot_general" in lowered) == used
    assert ("stablehlo.convolution" in lowered) != used
