import os
import shutil
import subprocess
import sys

import jax
import pytest

from flaxdrop.training import environment
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
    "jax_check_tracer_leaks": True,
    "jax_transfer_guard": "disallow",
    "jax_transfer_guard_host_to_device": "disallow",
    "jax_transfer_guard_device_to_device": "disallow",
    "jax_transfer_guard_device_to_host": "disallow",
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


@pytest.mark.parametrize("flag", ["--xla_cpu_enable_fast_math=true", "--no_such_flag", "word"])
def test_flags_of_xla_that_may_change_results_are_refused(monkeypatch, flag):
    monkeypatch.setenv("XLA_FLAGS", f"--xla_dump_to=here {flag}")
    with pytest.raises(ValueError, match=f"^XLA_FLAGS: must have none but .*, got '{flag}'$"):
        configure_jax()


@pytest.mark.parametrize(("count", "parts"), [(1, "2"), (2, "2"), (16, "16")])
def test_xla_cuts_loops_into_at_least_two_parts(monkeypatch, count, parts):
    monkeypatch.setattr(environment, "cores", lambda: list(range(count)))
    monkeypatch.setattr(environment.jax.config, "update", lambda *_: None)
    monkeypatch.setenv("PJRT_NPROC", "1")
    configure_jax()
    assert os.environ["PJRT_NPROC"] == parts


def test_damaged_entries_of_the_compile_cache_are_mended_in_silence(tmp_path):
    program = """
import jax
from flaxdrop.training.environment import configure_jax
configure_jax()
print(jax.jit(lambda x: x * 3)(2.0))
"""
    environment = {**os.environ, "FLAXDROP_CACHE": str(tmp_path)}
    for damaged in (False, True, False):
        for path in tmp_path.rglob("*-cache"):
            if damaged:
                path.write_bytes(path.read_bytes()[:100])
        done = subprocess.run(
            [sys.executable, "-c", program], env=environment, capture_output=True, text=True
        )
        assert done.stdout == "6.0\n"
        assert done.stderr == ""
    assert all(path.stat().st_size > 100 for path in tmp_path.rglob("*-cache"))


def test_a_compile_cache_that_has_no_room_is_told_once(tmp_path):
    program = """
import resource, jax
from flaxdrop.training.environment import configure_jax
configure_jax()
resource.setrlimit(resource.RLIMIT_FSIZE, (100, resource.RLIM_INFINITY))
print(jax.jit(lambda x: x * 3)(2.0), jax.jit(lambda x: x * 4)(2.0))
"""
    environment = {**os.environ, "FLAXDROP_CACHE": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True
    )
    assert done.stdout == "6.0 8.0\n"
    (line,) = done.stderr.splitlines()
    assert line.startswith("warning: compiled programs are not kept: ")
    assert "File too large" in line


def test_a_copied_compile_cache_is_read(tmp_path):
    program = """
import jax
from flaxdrop.training.environment import configure_jax
configure_jax()
print(jax.jit(lambda x: x * 3)(2.0))
"""
    for name in ("one", "two"):
        environment = {**os.environ, "FLAXDROP_CACHE": str(tmp_path / name)}
        subprocess.run([sys.executable, "-c", program], env=environment, check=True)
        entries = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*-cache")}
        if name == "one":
            shutil.copytree(tmp_path / "one", tmp_path / "two")
            (tmp_path / "one").rename(tmp_path / "gone")
            copied = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("two/**/*-cache")}
    assert copied
    assert {path: time for path, time in entries.items() if "gone" not in path.parts} == copied
