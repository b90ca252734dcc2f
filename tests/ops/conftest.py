import contextlib

import jax
import pytest

from tests.networks import filled, small  # noqa: F401 (fixtures)


@pytest.fixture
def float64_enabled():
    """A context in which arrays may be of float64; `jax.enable_x64` is not in jax 0.7."""

    @contextlib.contextmanager
    def enabled(wanted=True):
        jax.config.update("jax_enable_x64", wanted)
        try:
            yield
        finally:
            jax.config.update("jax_enable_x64", False)

    return enabled
