import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from flaxdrop.ops import convolution
from flaxdrop.ops.convolution import conv_general_dilated
from flaxdrop.ops.cpu import convolution as cpu_convolution
from flaxdrop.ops.cpu import onednn

pytestmark = pytest.mark.optimised

LAYOUT = ("NHWC", "HWIO", "NHWC")
PADS = ((2, 0), (1, 3))


@pytest.fixture(params=["library", "plain"])
def form(request, monkeypatch):
    """Both forms that a CPU has them in; there is one where oneDNN is not."""
    if request.param == "library":
        monkeypatch.setattr(cpu_convolution, "_WORTH_A_CALL", 1)
    else:
        monkeypatch.setattr(onednn, "available", lambda: False)
    convolution._traced_once.clear_cache()
    yield
    convolution._traced_once.clear_cache()


def arrays(*shapes):
    random = np.random.RandomState(0)
    return [jnp.asarray(random.randn(*shape) / np.sqrt(shape[-1]), jnp.float32) for shape in shapes]


def ours(x, kernel, strides, padding):
    return conv_general_dilated(x, kernel, strides, padding)


def theirs(x, kernel, strides, padding):
    return lax.conv_general_dilated(x, kernel, strides, padding, dimension_numbers=LAYOUT)


def value_and_gradients(conv, x, kernel, strides, padding):
    y, pullback = jax.vjp(lambda x, kernel: conv(x, kernel, strides, padding), x, kernel)
    return y, pullback(jnp.cos(jnp.arange(y.size, dtype=y.dtype)).reshape(y.shape))


@pytest.mark.parametrize("size", [(8, 6), (7, 9)])
@pytest.mark.parametrize("padding", ["SAME", "VALID", PADS])
@pytest.mark.parametrize("side", [1, 3])
@pytest.mark.usefixtures("form")
@pytest.mark.parametrize("stride", [1, 2])
def test_value_and_gradients_equal_those_of_lax(stride, side, padding, size):
    x, kernel = arrays((2, *size, 3), (side, side, 3, 4))
    strides = (stride, stride)

    @jax.jit
    def both(x, kernel):
        return [value_and_gradients(conv, x, kernel, strides, padding) for conv in (ours, theirs)]

    chex.assert_trees_all_close(*both(x, kernel), rtol=1e-5, atol=1e-5)


@pytest.mark.usefixtures("form")
def test_strides_and_kernels_need_not_be_square():
    x, kernel = arrays((2, 9, 8, 3), (2, 4, 3, 5))

    @jax.jit
    def both(x, kernel):
        return [value_and_gradients(conv, x, kernel, (3, 2), "SAME") for conv in (ours, theirs)]

    chex.assert_trees_all_close(*both(x, kernel), rtol=1e-5, atol=1e-5)


@pytest.mark.usefixtures("form")
@pytest.mark.parametrize("stride", [1, 2])
def test_gradients_inside_a_scan_equal_those_of_lax_outside(stride):
    x, kernels = arrays((2, 8, 8, 3), (3, 3, 3, 3, 3))
    pads = {1: ((1, 1), (1, 1)), 2: ((5, 5), (5, 5))}[stride]  # a step keeps 8x8 pixels

    def loss(conv, loop):
        def step(x, kernel):
            return jnp.tanh(conv(x, kernel, (stride, stride), pads)), None

        def scanned(x, kernels):
            y, _ = lax.scan(step, x, kernels, unroll=1 if loop else 3)
            return jnp.sum(y**2)

        return jax.jit(jax.grad(scanned, argnums=(0, 1)))

    got, expected = (loss(*how)(x, kernels) for how in ((ours, True), (theirs, False)))
    chex.assert_trees_all_close(got, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.usefixtures("form")
@pytest.mark.parametrize("form", ["plain"], indirect=True)
@pytest.mark.parametrize("stride", [1, 2])
def test_gradients_are_plain_convolutions_on_a_cpu_without_the_library(stride):
    x, kernel = arrays((2, 8, 8, 3), (3, 3, 3, 4))

    def are_plain(conv):
        gradients = jax.jit(
            lambda *arguments: value_and_gradients(conv, *arguments, (stride, stride), "SAME")
        )
        text = gradients.trace(x, kernel).lower(lowering_platforms=("cpu",)).as_text()
        plain = "dim_numbers = [b, 0, 1, f]x[0, 1, i, o]->[b, 0, 1, f]"
        return [
            plain in line and "lhs_dilate = [1, 1], rhs_dilate = [1, 1]" in line
            for line in text.splitlines()
            if "stablehlo.convolution" in line
        ]

    assert are_plain(ours) == [True, True, True]
    assert are_plain(theirs) == [True, False, False]


@pytest.mark.usefixtures("form")
@pytest.mark.parametrize("stride", [1, 2])
def test_second_derivatives_equal_those_of_lax(stride):
    x, kernel = arrays((2, 7, 6, 3), (3, 3, 3, 4))

    def second(conv):
        def loss(x, kernel):
            return jnp.sum(jnp.sin(conv(x, kernel, (stride, stride), PADS)))

        def of_gradients(x, kernel):
            dx, dkernel = jax.grad(loss, argnums=(0, 1))(x, kernel)
            return jnp.sum(jnp.sin(dx) ** 2) + jnp.sum(jnp.cos(dkernel))

        return jax.jit(jax.grad(of_gradients, argnums=(0, 1)))(x, kernel)

    chex.assert_trees_all_close(second(ours), second(theirs), rtol=1e-5, atol=1e-5)


@pytest.mark.usefixtures("form")
def test_cells_may_have_kernels_of_their_own():
    x, kernels = arrays((2, 6, 6, 3), (4, 3, 3, 3, 5))

    def loss(kernel, conv):
        return jnp.sum(jnp.sin(conv(x, kernel, (1, 1), "SAME")))

    def of_every(conv):
        return jax.jit(jax.vmap(lambda kernel: jax.value_and_grad(loss)(kernel, conv)))(kernels)

    chex.assert_trees_all_close(of_every(ours), of_every(theirs), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("stride", [1, 2])
def test_other_platforms_get_the_gradients_of_lax(stride):
    x, kernel = arrays((2, 8, 8, 3), (3, 3, 3, 4))

    def lowered(conv):
        gradients = jax.jit(
            lambda *arguments: value_and_gradients(conv, *arguments, (stride, stride), "SAME")
        )
        text = gradients.trace(x, kernel).lower(lowering_platforms=("cuda",)).as_text()
        return sorted(
            line.split(") dim_numbers")[1].split(" : ")[0]
            for line in text.splitlines()
            if "stablehlo.convolution" in line
        )

    assert lowered(ours) == lowered(theirs)


@pytest.mark.usefixtures("form")
@pytest.mark.parametrize("examples", [1, 7, 8, 13, 24, 50])
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_the_kernels_gradient_is_the_sum_over_all_examples(examples, dtype):
    x, kernel = (array.astype(dtype) for array in arrays((examples, 6, 5, 3), (3, 3, 3, 4)))

    def loss(kernel, conv):
        return jnp.sum(jnp.sin(conv(x, kernel, (1, 1), "SAME").astype(jnp.float32)))

    got, expected = jax.jit(lambda k: [jax.grad(loss)(k, conv) for conv in (ours, theirs)])(kernel)
    chex.assert_type(got, dtype)
    tolerance = 1e-5 if dtype == jnp.float32 else 2e-2
    scale = float(jnp.abs(expected).max())
    chex.assert_trees_all_close(got / scale, expected / scale, rtol=tolerance, atol=tolerance)


def test_a_linen_convolution_takes_it():
    x = arrays((2, 8, 8, 3))[0]
    plain = nn.Conv(4, (3, 3), strides=2)
    ours = nn.Conv(4, (3, 3), strides=2, conv_general_dilated=conv_general_dilated)
    variables = {"params": {"kernel": arrays((3, 3, 3, 4))[0], "bias": jnp.arange(4.0)}}
    both = jax.jit(lambda variables: [layer.apply(variables, x) for layer in (ours, plain)])
    chex.assert_trees_all_close(*both(variables), atol=1e-5)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_half_precision_is_kept(dtype):
    x, kernel = (array.astype(dtype) for array in arrays((2, 6, 6, 3), (3, 3, 3, 4)))
    y, gradients = jax.jit(lambda *args: value_and_gradients(ours, *args, (2, 2), "SAME"))(
        x, kernel
    )
    chex.assert_type([y, *gradients], dtype)
    chex.assert_tree_all_finite([y, *gradients])


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("lhs_dilation", {"lhs_dilation": (2, 2)}),
        ("rhs_dilation", {"rhs_dilation": (1, 2)}),
        ("feature_group_count", {"feature_group_count": 3}),
        ("dimension_numbers", {"dimension_numbers": ("NCHW", "OIHW", "NCHW")}),
        ("dimension_numbers", {"dimension_numbers": None}),
    ],
)
def test_what_is_not_supported_is_refused(name, options):
    x, kernel = arrays((2, 6, 6, 3), (3, 3, 3, 3))
    with pytest.raises(ValueError, match=rf"^{name}: must be .*, got .*$"):
        conv_general_dilated(x, kernel, (1, 1), "SAME", **options)


def test_other_ranks_are_refused():
    x, kernel = arrays((2, 6, 3), (3, 3, 3))
    with pytest.raises(ValueError, match=r"^lhs: expected \[N, H, W, C\], got .*\(2, 6, 3\)$"):
        conv_general_dilated(x, kernel, (1,), "SAME")
