import jax
import pytest

from flaxdrop.training.environment import PINNED, REFUSED, configure_jax

INHERITED = {
    "jax_enable_x64": True,
    "jax_default_prng_impl": "rbg",
    "jax_threefry_partitionable": False,
    "jax_random_seed_offset": 7,
    "jax_numpy_dtype_promotion": "strict",
    "jax_numpy_rank_promotion": "raise",
    "jax_disable_jit": True,
    "jax_debug_nans": True,
    "jax_debug_infs": True,
}


@pytest.mark.parametrize("name", PINNED)
def test_settings_that_change_results_are_not_inherited(name):
    try:
        jax.config.update(name, INHERITED[name])
        configure_jax()
        assert jax.config.values[name] == PINNED[name]
    finally:
        jax.config.update(name, PINNED[name])


@pytest.mark.parametrize("name", REFUSED)
def test_variables_that_compile_another_program_are_refused(monkeypatch, name):
    monkeypatch.setenv(name, "1")
    with pytest.raises(ValueError, match=f"^{name}: must not be .*, got '1'$"):
        configure_jax()
