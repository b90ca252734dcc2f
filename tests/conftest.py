"""Every test has two CPU devices; what is compiled is kept from one run of pytest to the next."""

import os

import jax
import pytest

from flaxdrop.training.environment import configure_jax

# What they look at is not in the compiled code, and most of their time is that of compiling it.
HASTY = ("analysis", "benchmarks", "docs", "findings", "harness", "reproduction", "theory")


def pytest_configure(config):
    os.environ["FLAXDROP_CACHE"] = str(config.cache.mkdir("flaxdrop"))
    configure_jax()
    jax.config.update("jax_num_cpu_devices", 2)
    jax.devices("cpu")  # from here on their number stays


# `make test-all` runs them as well: whole networks compiled for several processors, all networks
# and all places one by one, long runs that are killed, and measurements of speed.
SLOW = (
    "analysis/test_ranking.py",
    "analysis/test_slotted_network.py",
    "benchmarks/throughput/test_guard.py",
    "benchmarks/throughput/test_profile.py",
    "benchmarks/throughput/test_scale.py",
    "harness/test_kill.py",
    "harness/test_promise.py",
    "models/test_contract.py",
    "models/test_export.py",
    "models/test_positions.py",
    "test_boundaries.py",
    "test_slotted.py",
    "test_whole_network.py::test_kernels_have_the_gradients_of_float64[bottleneck]",
    "test_whole_network.py::test_kernels_have_the_gradients_of_float64[convnet]",
    "test_whole_network.py::test_kernels_have_the_gradients_of_float64[densenet]",
    "test_whole_network.py::test_kernels_have_the_gradients_of_float64[preresnet]",
    "test_whole_network.py::test_kernels_have_the_gradients_of_float64[template]",
    "tests/nnx/",
)


@pytest.hookimpl(tryfirst=True)  # before they are chosen by their marks
def pytest_collection_modifyitems(items):
    for item in items:
        if any(part in item.nodeid for part in SLOW):
            item.add_marker(pytest.mark.slow)


@pytest.hookimpl(tryfirst=True)  # before any fixture, whatever its scope
def pytest_runtest_setup(item):
    hasty = item.path.parent.name in HASTY and not item.get_closest_marker("optimised")
    jax.config.update("jax_disable_most_optimizations", hasty)
