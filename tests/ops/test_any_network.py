import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import lax

from flaxdrop.nnx.any_network import use_fast_convolutions
from flaxdrop.ops.any_network import convolve, fast_convolutions

X = jnp.asarray(np.random.default_rng(0).normal(size=(2, 8, 8, 4)), jnp.float32)


class Network(nn.Module):
    options: dict

    @nn.compact
    def __call__(self, x):
        return nn.Conv(8, (3, 3), **self.options)(nn.relu(nn.Conv(4, (1, 1), 2)(x)))


def by_ours(function, *arguments):
    """Whether a convolution of flaxdrop is in the traced program."""
    # A function of its own: what was traced before is kept.
    return "custom_vjp" in str(jax.make_jaxpr(lambda *given: function(*given))(*arguments))


@pytest.mark.parametrize(
    "options",
    [{}, {"strides": 2}, {"padding": "VALID"}, {"use_bias": False}, {"padding": "CIRCULAR"}],
)
def test_an_unedited_network_gives_the_same_and_has_the_same_gradients(options):
    model = Network(options)
    variables = model.init(jax.random.key(0), X)

    def loss(variables):
        return jnp.sum(model.apply(variables, X) ** 2)

    plain = jax.value_and_grad(loss)(variables)
    assert not by_ours(loss, variables)
    with fast_convolutions():
        assert by_ours(loss, variables)
        fast = jax.value_and_grad(loss)(variables)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4), plain, fast)
    assert not by_ours(loss, variables)


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nn.Conv(8, (3, 3), feature_group_count=4), (2, 8, 8, 4)),
        (nn.Conv(8, (3, 3), kernel_dilation=2), (2, 8, 8, 4)),
        (nn.Conv(8, (3,)), (2, 8, 4)),
    ],
)
def test_what_flaxdrop_cannot_convolve_is_left_to_lax(layer, shape):
    x = jnp.ones(shape)
    variables = layer.init(jax.random.key(0), x)
    with fast_convolutions():
        assert not by_ours(layer.apply, variables, x)
        fast = layer.apply(variables, x)
    np.testing.assert_array_equal(fast, layer.apply(variables, x))


def test_a_convolution_of_its_own_is_kept():
    calls = []

    def own(*arguments, **options):
        calls.append(options)
        return lax.conv_general_dilated(*arguments, **options)

    with fast_convolutions():
        nn.Conv(4, (3, 3), conv_general_dilated=own).init(jax.random.key(0), X)
    network = nnx.Conv(4, 4, (3, 3), conv_general_dilated=own, rngs=nnx.Rngs(0))
    use_fast_convolutions(network)
    network(X)
    assert len(calls) == 2


def test_a_network_of_nnx_gives_the_same():
    network = nnx.Sequential(nnx.Conv(4, 8, (3, 3), rngs=nnx.Rngs(0)), nnx.relu)
    plain = network(X)
    use_fast_convolutions(network)
    assert network.layers[0].conv_general_dilated is convolve
    np.testing.assert_allclose(network(X), plain, atol=1e-5)
