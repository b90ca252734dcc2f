"""Every test has two CPU devices; what is compiled is kept from one run of pytest to the next."""

import os

import jax
import pytest
from jax._src import compiler

from flaxdrop.training.environment import configure_jax

compile_options = compiler.get_compile_options


def quick_compile_options(*args, **kwargs):
    """A third of the time of compiling is that of XLA's new emitters of fusions."""
    options = compile_options(*args, **kwargs)
    if options.executable_build_options.debug_options.xla_llvm_disable_expensive_passes:
        quick = ("xla_cpu_use_fusion_emitters", False)
        options.env_option_overrides = [*options.env_option_overrides, quick]
    return options


def pytest_configure(config):
    os.environ["FLAXDROP_CACHE"] = str(config.cache.mkdir("flaxdrop"))
    configure_jax()
    compiler.get_compile_options = quick_compile_options
    jax.config.update("jax_num_cpu_devices", 2)
    jax.devices("cpu")  # from here on their number stays


@pytest.hookimpl(tryfirst=True)  # before any fixture, whatever its scope
def pytest_runtest_setup(item):
    # Most of the time is that of compiling. Tests of compiled arithmetic, and those that compute
    # long, are marked `optimised`: they run what users run.
    jax.config.update("jax_disable_most_optimizations", not item.get_closest_marker("optimised"))
