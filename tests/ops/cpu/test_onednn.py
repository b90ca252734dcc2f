import platform
import sys

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flaxdrop.ops.cpu import lax_convolution, onednn, onednn_primitives

pytestmark = pytest.mark.optimised

ONES = ((1, 1), (1, 1))
needs_library = pytest.mark.skipif(
    not onednn.available(), reason="there is no oneDNN for this platform"
)


def arrays(*shapes):
    random = np.random.RandomState(0)
    return [jnp.asarray(random.randn(*shape), jnp.float32) for shape in shapes]


def test_the_library_comes_with_flaxdrop_on_linux():
    if sys.platform == "linux" and platform.machine() == "x86_64":
        assert onednn.available()


@needs_library
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize(("inputs", "outputs"), [(3, 16), (16, 16), (16, 32), (64, 64), (5, 7)])
def test_all_widths_equal_the_plain_convolution(inputs, outputs, stride):
    x, kernel = arrays((3, 8, 8, inputs), (3, 3, inputs, outputs))
    strides = (stride, stride)

    @jax.jit
    def plain(x, kernel):
        y, back = jax.vjp(
            lambda *arguments: lax_convolution.convolve(*arguments, strides, ONES, "highest"),
            x,
            kernel,
        )
        return y, back(jnp.sin(y))

    y, gradients = plain(x, kernel)
    got = onednn.convolve(x, kernel, strides, ONES)
    for ours, theirs in (
        (got, y),
        *zip(onednn.gradients(x, kernel, jnp.sin(y), strides, ONES), gradients, strict=True),
    ):
        scale = float(jnp.abs(theirs).max())
        chex.assert_trees_all_close(ours / scale, theirs / scale, rtol=0, atol=1e-5)


@needs_library
def test_devices_at_work_at_once_do_not_disturb_each_other():
    devices = jax.devices("cpu")

    @jax.jit
    def several(x, kernel):
        return jax.lax.fori_loop(
            0, 20, lambda _, x: jnp.tanh(onednn.convolve(x, kernel, (1, 1), ONES)), x
        )

    own = [
        jax.device_put(tuple(arrays((8, 16, 16, 16), (3, 3, 16, 16))), device) for device in devices
    ]
    alone = [jax.block_until_ready(several(*arguments)) for arguments in own]
    together = jax.block_until_ready([several(*arguments) for arguments in own])
    chex.assert_trees_all_equal(together, alone)


@needs_library
def test_threads_share_the_work_of_a_convolution():
    x, kernel = (np.asarray(array) for array in arrays((4, 8, 8, 16), (3, 3, 16, 16)))
    results = []
    for threads in (1, 2):
        y = np.empty_like(x)
        convolution = onednn_primitives.convolution(
            "result", x.shape, kernel.shape, y.shape, (1, 1), ONES, threads
        )
        addresses = {"image": x, "kernel": kernel, "result": y}
        convolution.run({name: array.ctypes.data for name, array in addresses.items()})
        results.append(y)
    chex.assert_trees_all_close(*results, rtol=1e-6, atol=1e-6)


@needs_library
def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(RuntimeError, match=r"^oneDNN: invalid arguments$"):
        onednn_primitives.convolution(
            "result", (1, 8, 8, 3), (3, 3, 4, 5), (1, 8, 8, 5), (1, 1), ONES, 1
        )
