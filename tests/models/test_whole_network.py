"""Gradients of whole networks against float64, on more than one instruction set."""

import contextlib
import dataclasses
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

pytestmark = pytest.mark.optimised


@contextlib.contextmanager
def on_instruction_set(chosen, folder, *words):
    """A function: network -> its gradients, of a process that lasts from network to network."""
    script = pathlib.Path(whole_network.__file__)
    environment = {
        **os.environ,
        "JAX_PLATFORMS": "cpu",
        "PYTHONPATH": str(script.parents[2]),
        "XLA_FLAGS": f"--xla_cpu_max_isa={chosen}",
        "ONEDNN_MAX_CPU_ISA": INSTRUCTION_SETS[chosen],
    }
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, str(script), *words], env=environment, **pipes) as child:

        def gradients(name):
            file = folder / f"{chosen}-{name}.npz"
            print(name, file, file=child.stdin, flush=True)
            assert child.stdout.readline() == f"{file}\n"
            with np.load(file) as found:
                return dict(found)

        yield gradients
        child.stdin.close()
    assert child.returncode == 0


@pytest.fixture(scope="module")
def on_avx2(tmp_path_factory):
    with on_instruction_set("AVX2", tmp_path_factory.mktemp("avx2")) as gradients:
        yield gradients


@pytest.fixture(scope="module")
def on_sse4_2(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sse4_2")
    with on_instruction_set("SSE4_2", folder, "without-onednn") as gradients:
        yield gradients


@dataclasses.dataclass(frozen=True)
class Reference:
    """What the gradients of a network are held to.

    Attributes:
      true: its gradients in float64.
      usual: the largest error of plain Flax in float32.
    """

    true: dict
    usual: float

    def hold(self, how, found):
        """The errors of our gradients are at most twice those of plain Flax.

        A unit within rounding of 0, or of its neighbour under a pooling, falls on the other side
        in a draw out of three, in plain Flax too: that costs 1e-4 to 1e-2, and the draws without
        it count.
        """
        for path, own in whole_network.errors(found, self.true).items():
            assert own.min() < 2 * self.usual, (how, path, own, self.usual)
            assert own.max() < 0.02, (how, path, own)


def reference(name):
    with whole_network.library_operations(jnp.float64):
        # Less optimised, it is the same but for the rounding of f64, and compiles sooner.
        options = {"xla_backend_optimization_level": 1, "xla_cpu_use_fusion_emitters": False}
        true = whole_network.gradients(name, jnp.float64, options)
    with whole_network.library_operations(jnp.float32):
        plain = whole_network.errors(whole_network.gradients(name), true)
    return Reference(true, max(error.min() for error in plain.values()))


# Most of the time is the reference's: what is held to it stands in one test.
@pytest.mark.parametrize(
    "name",
    [  # the blocks of the bottleneck are those of the ImageNet form
        pytest.param(name, marks=pytest.mark.slow) if name == "bottleneck" else name
        for name in whole_network.NETWORKS
    ],
)
def test_kernels_have_the_gradients_of_float64(name, on_avx2):
    expected = reference(name)
    expected.hold("as compiled here", whole_network.gradients(name))
    expected.hold("on AVX2", on_avx2(name))
    if name != "vgg":  # it compiles for half a minute
        expected.hold("by the convolutions of XLA", by_xla(name))


@pytest.mark.slow
@pytest.mark.parametrize("name", whole_network.NETWORKS)
def test_so_they_have_by_the_convolutions_of_xla_on_sse4_2(name, on_sse4_2):
    expected = reference(name)
    expected.hold("on SSE4.2", on_sse4_2(name))
    if name == "vgg":
        expected.hold("by the convolutions of XLA", by_xla(name))


def by_xla(name):
    with whole_network.without_onednn():
        return whole_network.gradients(name, options=compiler_options(jax.devices()[0]))
