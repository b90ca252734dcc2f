import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from flaxdrop.ops.convolution import conv_general_dilated
from flaxdrop.ops.cpu import lax_convolution, pixel_pairs

pytestmark = pytest.mark.optimised


def arrays(*shapes):
    random = np.random.RandomState(0)
    return [jnp.asarray(random.randn(*shape) / np.sqrt(shape[-1]), jnp.float32) for shape in shapes]


def plain(x, kernel, pads):
    return lax.conv_general_dilated(
        x, kernel, (1, 1), pads, dimension_numbers=lax_convolution.LAYOUT, precision="highest"
    )


@pytest.mark.parametrize("sides", [(3, 3), (1, 3), (2, 5)])
@pytest.mark.parametrize("pads", [((0, 0), (0, 0)), ((1, 1), (1, 1)), ((2, 0), (3, 1))])
def test_it_is_the_convolution_and_its_gradient(sides, pads):
    columns = 9 + sides[1]  # an even row of the result
    x, kernel = arrays((3, 7, columns, 5), (*sides, 5, 4))

    @jax.jit
    def all_of(x, kernel):
        expected, back = jax.vjp(lambda kernel: plain(x, kernel, pads), kernel)
        g = jnp.cos(jnp.arange(expected.size, dtype=jnp.float32)).reshape(expected.shape)
        ours = pixel_pairs.convolve(x, kernel, pads, "highest")
        return (ours, pixel_pairs.kernel_gradient(x, g, pads, "highest")), (expected, *back(g))

    chex.assert_trees_all_close(*all_of(x, kernel), rtol=1e-5, atol=1e-5)


def test_whole_numbers_are_exact():
    random = np.random.RandomState(0)
    x = jnp.asarray(random.randint(-8, 9, (2, 6, 6, 3)), jnp.float32)
    kernel = jnp.asarray(random.randint(-8, 9, (3, 3, 3, 4)), jnp.float32)
    pads = ((1, 1), (1, 1))
    got = pixel_pairs.convolve(x, kernel, pads, None)
    chex.assert_trees_all_equal(got, plain(x, kernel, pads))


@pytest.mark.parametrize(
    ("channels", "side", "columns", "dtype", "used"),
    [
        ((16, 16), 3, 8, jnp.float32, True),
        ((12, 8), 3, 8, jnp.float64, True),
        ((3, 16), 3, 8, jnp.float32, False),  # no gain
        ((16, 32), 3, 8, jnp.float32, False),  # likewise
        ((16, 16), 1, 8, jnp.float32, False),  # as many products with 0 as others
        ((16, 16), 3, 7, jnp.float32, False),  # a pixel would be left over
        ((16, 16), 3, 8, jnp.bfloat16, False),  # for which there are no such registers
    ],
)
def test_where_it_pays(float64_enabled, channels, side, columns, dtype, used):
    with float64_enabled(dtype == jnp.float64):
        x = jnp.zeros((12, 8, columns, channels[0]), dtype)
        kernel = jnp.zeros((side, side, *channels), dtype)

        def both(x, kernel):
            y, back = jax.vjp(lambda x, k: conv_general_dilated(x, k, (1, 1), "SAME"), x, kernel)
            return back(y)

        lowered = jax.jit(both).lower(x, kernel).as_text()
    twice = f"{side}x{side + 1}x{channels[0]}x{2 * channels[1]}x"
    assert (twice in lowered) == used
    assert ("rhs_dilate = [1, 2]" in lowered) == used
