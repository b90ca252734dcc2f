"""Convolutions by oneDNN, Intel's library for CPUs, as operations of a program; all are f32.

They reach the processor's peak where those of XLA reach a half of it. PyTorch uses the same.
"""

import functools
import os
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from flaxdrop.ops.cpu import onednn_library, onednn_primitives, xla_ffi
from flaxdrop.ops.cpu.lax_convolution import Padding
from flaxdrop.ops.cpu.xla_ffi import Buffer

Shape = tuple[int, ...]
# What an operation reads, in order, and what it writes.
_OPERATIONS = {
    "flaxdrop_convolution": (("image", "kernel"), "result"),
    "flaxdrop_convolution_of_image": (("result", "kernel"), "image"),
    "flaxdrop_convolution_of_kernel": (("image", "result"), "kernel"),
}


@functools.cache
def available() -> bool:
    """Whether programs can have them: the library is there, and XLA knows them now."""
    try:
        onednn_library.load()
    except OSError:
        return False
    for name in _OPERATIONS:
        xla_ffi.register(name, functools.partial(_execute, name))
    return True


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def convolve(x: jax.Array, kernel: jax.Array, strides: tuple[int, int], pads: Padding) -> jax.Array:
    """The convolution."""
    rows, columns = (
        (x.shape[axis + 1] + sum(pads[axis]) - kernel.shape[axis]) // strides[axis] + 1
        for axis in range(2)
    )
    shape = (x.shape[0], rows, columns, kernel.shape[3])
    return _call("flaxdrop_convolution", shape, strides, pads, x, kernel)


def gradients(
    x: jax.Array, kernel: jax.Array, g: jax.Array, strides: tuple[int, int], pads: Padding
) -> tuple[jax.Array, jax.Array]:
    """Of the image and of the kernel."""
    with jax.named_scope("of_image"):
        dx = _of_image(g, kernel, x.shape, strides, pads)
    with jax.named_scope("of_kernel"):
        return dx, _of_kernel(x, g, kernel.shape, strides, pads)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3, 4))
def _of_image(
    g: jax.Array, kernel: jax.Array, shape: Shape, strides: tuple[int, int], pads: Padding
) -> jax.Array:
    return _call("flaxdrop_convolution_of_image", shape, strides, pads, g, kernel)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3, 4))
def _of_kernel(
    x: jax.Array, g: jax.Array, shape: Shape, strides: tuple[int, int], pads: Padding
) -> jax.Array:
    return _call("flaxdrop_convolution_of_kernel", shape, strides, pads, x, g)


# All three are of one trilinear form, sum(g * convolve(x, kernel)): so are their derivatives.
convolve.defvjp(
    lambda x, kernel, strides, pads: (convolve(x, kernel, strides, pads), (x, kernel)),
    lambda strides, pads, saved, g: gradients(saved[0], saved[1], g, strides, pads),
)
_of_image.defvjp(
    lambda g, kernel, *about: (_of_image(g, kernel, *about), (g, kernel)),
    lambda _, strides, pads, saved, x: (
        convolve(x, saved[1], strides, pads),
        _of_kernel(x, saved[0], saved[1].shape, strides, pads),
    ),
)
_of_kernel.defvjp(
    lambda x, g, *about: (_of_kernel(x, g, *about), (x, g)),
    lambda _, strides, pads, saved, kernel: (
        _of_image(saved[1], kernel, saved[0].shape, strides, pads),
        convolve(saved[0], kernel, strides, pads),
    ),
)


def _call(
    name: str, shape: Shape, strides: tuple[int, int], pads: Padding, *operands: jax.Array
) -> Any:
    result = jax.ShapeDtypeStruct(shape, jnp.float32)
    call = jax.ffi.ffi_call(name, result, vmap_method="sequential")
    return call(*operands, geometry=np.array([*strides, *pads[0], *pads[1]], np.int64))


def _execute(
    name: str, operands: Sequence[Buffer], results: Sequence[Buffer], geometry: tuple[int, ...]
) -> None:
    reads, writes = _OPERATIONS[name]
    buffers = {**dict(zip(reads, operands, strict=True)), writes: results[0]}
    convolution = onednn_primitives.convolution(
        writes,
        *(buffers[array].shape for array in ("image", "kernel", "result")),
        strides=geometry[:2],
        pads=(geometry[2:4], geometry[4:]),
        threads=_threads(),
    )
    convolution.run({name: buffer.address for name, buffer in buffers.items()})


@functools.cache
def _threads() -> int:
    """For each of the devices, which work at the same time, as many as it has cores."""
    return max(1, len(os.sched_getaffinity(0)) // len(jax.local_devices(backend="cpu")))
