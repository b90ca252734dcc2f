import itertools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flaxdrop.ops.cpu import xla_ffi

pytestmark = pytest.mark.optimised

_NUMBERS = itertools.count()


def values(buffer):
    """What is at a buffer's address."""
    size = int(np.prod(buffer.shape))
    array = (np.ctypeslib.ctypes.c_float * size).from_address(buffer.address)
    return np.frombuffer(array, np.float32).reshape(buffer.shape)


def target(function):
    """Registers it under a name that was not used before."""
    name = f"test_{next(_NUMBERS)}"
    xla_ffi.register(name, function)
    return name


def test_a_function_sees_operands_results_and_numbers():
    def axpy(operands, results, numbers):
        x, y = map(values, operands)
        values(results[0])[...] = numbers[0] * x + y + numbers[1]

    call = jax.ffi.ffi_call(target(axpy), jax.ShapeDtypeStruct((2, 3), jnp.float32))
    x, y = jnp.arange(6.0).reshape(2, 3), jnp.ones((2, 3))

    @jax.jit
    def apply(x, y):
        return call(x, y, numbers=np.array([2, -1], np.int64))

    chex.assert_trees_all_equal(apply(x, y), 2 * x + y - 1)


def test_it_runs_at_every_step_of_a_loop_and_on_every_device():
    def add_one(operands, results, _):
        values(results[0])[...] = values(operands[0]) + 1

    call = jax.ffi.ffi_call(target(add_one), jax.ShapeDtypeStruct((4,), jnp.float32))

    @jax.jit
    def often(x):
        return jax.lax.fori_loop(0, 50, lambda _, x: call(x, numbers=np.zeros(1, np.int64)), x)

    starts = [
        jax.device_put(jnp.full(4, float(i)), device) for i, device in enumerate(jax.devices("cpu"))
    ]
    chex.assert_trees_all_equal([often(x) for x in starts], [x + 50 for x in starts])


def test_what_it_raises_the_program_raises():
    def fail(*_):
        raise ValueError("no such thing")

    name = target(fail)
    call = jax.ffi.ffi_call(name, jax.ShapeDtypeStruct((), jnp.float32))
    with pytest.raises(jax.errors.JaxRuntimeError, match=f"{name}: no such thing"):
        jax.block_until_ready(call(jnp.float32(0), numbers=np.zeros(1, np.int64)))
