"""Every test has two CPU devices; what is compiled is kept from one run of pytest to the next."""

import os

import jax
import pytest

from flaxdrop.training.host import use_host

# What they look at is not in the compiled code, and most of their time is that of compiling it.
HASTY = ("analysis", "benchmarks")


def pytest_configure(config):
    os.environ["FLAXDROP_CACHE"] = str(config.cache.mkdir("flaxdrop"))
    use_host()
    jax.config.update("jax_num_cpu_devices", 2)
    jax.devices("cpu")  # from here on their number stays


@pytest.fixture(autouse=True, scope="module")
def optimisation(request):
    """As for users, but in the folders of `HASTY`."""
    before = jax.config.values["jax_disable_most_optimizations"]
    jax.config.update("jax_disable_most_optimizations", request.path.parent.name in HASTY)
    yield
    jax.config.update("jax_disable_most_optimizations", before)
