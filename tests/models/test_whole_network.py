"""Gradients of whole networks against float64, on more than one instruction set."""

import os
import pathlib
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flaxdrop.training.environment import compiler_options
from tests.models import whole_network

# oneDNN chooses its instructions by itself: it is told them in words of its own.
INSTRUCTION_SETS = {"AVX2": "AVX2", "SSE4_2": "SSE41"}


def on_instruction_set(name, chosen, folder, *words):
    file = folder / f"{chosen}.npz"
    script = pathlib.Path(whole_network.__file__)
    environment = {
        **os.environ,
        "JAX_PLATFORMS": "cpu",
        "PYTHONPATH": str(script.parents[2]),
        "XLA_FLAGS": f"--xla_cpu_max_isa={chosen}",
        "ONEDNN_MAX_CPU_ISA": INSTRUCTION_SETS[chosen],
    }
    subprocess.run(
        [sys.executable, str(script), name, str(file), *words], env=environment, check=True
    )
    with np.load(file) as found:
        return dict(found)


@pytest.mark.parametrize("name", whole_network.NETWORKS)
def test_kernels_have_the_gradients_of_float64(name, tmp_path):
    with whole_network.library_operations(jnp.float64):
        # Less optimised, it is the same but for the rounding of f64, and compiles sooner.
        options = {"xla_backend_optimization_level": 1}
        true = whole_network.gradients(name, jnp.float64, options)
    with whole_network.library_operations(jnp.float32):
        plain = whole_network.errors(whole_network.gradients(name), true)
    product = compiler_options(jax.devices()[0])
    found = {"default options": whole_network.gradients(name)}
    with whole_network.without_onednn():
        found["product's options, XLA's convolutions"] = whole_network.gradients(
            name, options=product
        )
    found["AVX2"] = on_instruction_set(name, "AVX2", tmp_path)
    found["SSE4.2, XLA's convolutions"] = on_instruction_set(
        name, "SSE4_2", tmp_path, "without-onednn"
    )
    # A unit within rounding of 0, or of its neighbour under a pooling, falls on the other side in a
    # draw out of three, in plain Flax too: that costs 1e-4 to 1e-2, and the draws without it count.
    usual = max(error.min() for error in plain.values())
    for where, gradients in found.items():
        for path, own in whole_network.errors(gradients, true).items():
            assert own.min() < 2 * usual, (where, path, own, usual)
            assert own.max() < 0.02, (where, path, own)
