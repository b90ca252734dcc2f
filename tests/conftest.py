"""Every test has two CPU devices; what is compiled is kept from one run of pytest to the next."""

import os

import jax
import pytest

from flaxdrop.training.environment import configure_jax


def pytest_configure(config):
    os.environ["FLAXDROP_CACHE"] = str(config.cache.mkdir("flaxdrop"))
    configure_jax()
    jax.config.update("jax_num_cpu_devices", 2)
    jax.devices("cpu")  # from here on their number stays


@pytest.hookimpl(tryfirst=True)  # before any fixture, whatever its scope
def pytest_runtest_setup(item):
    # Most of the time is that of compiling. Tests of compiled arithmetic, and those that compute
    # long, are marked `optimised`: they run what users run.
    jax.config.update("jax_disable_most_optimizations", not item.get_closest_marker("optimised"))
