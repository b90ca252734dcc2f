"""Every test has two CPU devices; what is compiled is kept from one run of pytest to the next."""

import os

import jax

from flaxdrop.training.host import use_host


def pytest_configure(config):
    os.environ["FLAXDROP_CACHE"] = str(config.cache.mkdir("flaxdrop"))
    use_host()
    jax.config.update("jax_num_cpu_devices", 2)
    jax.devices("cpu")  # from here on their number stays
