"""What this host offers, to be said before jax first looks for devices."""

import contextlib
import functools
import gc
import hashlib
import importlib.metadata
import os
import pathlib
import re
import sys
import warnings
from collections.abc import Mapping
from typing import Any

import jax

from flaxdrop.cache_directory import cache_directory

# What a seed draws, and whether it can be trained, depends on these: they are not inherited from
# variables of the environment (JAX_ENABLE_X64, ...).
PINNED: Mapping[str, Any] = {
    "jax_enable_x64": False,
    "jax_default_prng_impl": "threefry2x32",
    "jax_threefry_partitionable": True,
    "jax_random_seed_offset": 0,
    "jax_numpy_dtype_promotion": "standard",
    "jax_numpy_rank_promotion": "allow",
    "jax_disable_jit": False,
    "jax_debug_nans": False,
    "jax_debug_infs": False,
    # These end a training in a traceback.
    "jax_check_tracer_leaks": False,
    "jax_transfer_guard": "allow",
    "jax_transfer_guard_host_to_device": "allow",
    "jax_transfer_guard_device_to_device": "allow",
    "jax_transfer_guard_device_to_host": "allow",
}
# These compile another program; their right values are those of each version of jax.
REFUSED = ("JAX_DISABLE_MOST_OPTIMIZATIONS", "JAX_REMAT3", "JAX_SCAN3", "JAX_CUSTOM_VJP3")
# Other flags of XLA may compile another program, and an unknown one aborts the process.
_XLA_FLAGS = ("--xla_dump_", "--xla_force_host_platform_device_count=", "--xla_gpu_cuda_data_dir=")
# How many parts XLA may cut a loop into. With one, it makes another loop, which rounds otherwise;
# from two on, their number changes nothing. So a single core works on two parts.
_FEWEST_PARTS = 2
_DAMAGED = re.compile(r"Error reading persistent compilation cache entry for '(\w+)'")
_NOT_WRITTEN = re.compile(r"Error writing persistent compilation cache entry for '\w+': (.*)")


def configure_jax() -> None:
    """Makes every CPU core a device, keeps compiled programs from run to run, and hurries tracing.

    Where the platform is not the CPU, the first has no effect. In a process where jax has already
    looked for devices, as in a notebook, its devices stay as they are. Settings of jax that change
    results are those of `PINNED`, whatever the environment says.

    Raises:
      ValueError: a variable of the environment that changes results: one of `REFUSED`, or a flag
        in `XLA_FLAGS` that may.
    """
    for name in REFUSED:
        if name in os.environ:
            raise ValueError(
                f"{name}: must not be in the environment, for it changes results, got"
                f" {os.environ[name]!r}"
            )
    for flag in os.environ.get("XLA_FLAGS", "").split():
        if not flag.startswith(_XLA_FLAGS):
            raise ValueError(
                f"XLA_FLAGS: must have none but {', '.join(_XLA_FLAGS)}, for others may change"
                f" results, got {flag!r}"
            )
    os.environ["PJRT_NPROC"] = str(max(_FEWEST_PARTS, len(cores())))
    for name, value in PINNED.items():
        if name in jax.config.values and jax.config.values[name] != value:
            jax.config.update(name, value)
    gc.set_threshold(100_000)  # of 700, it takes a sixth of the time to trace, and finds nothing
    with contextlib.suppress(RuntimeError):  # jax has its devices already
        jax.config.update("jax_num_cpu_devices", len(cores()))
    if jax.config.values["jax_compilation_cache_dir"] is None:
        # A home folder may be shared by machines that cannot run each other's programs.
        about = "\n".join(_about_processor("model name", "flags", "Features"))
        name = hashlib.sha256(about.encode()).hexdigest()[:12]
        jax.config.update("jax_compilation_cache_dir", str(cache_directory() / "xla" / name))
    _mend_cache()
    if not any("cuda" in plugin.name or "rocm" in plugin.name for plugin in _plugins()):
        # Of GPUs alone; with it a program's key has the path, and a copied cache would not be read.
        jax.config.update("jax_persistent_cache_enable_xla_caches", "")
    # Small programs too, which jax would compile anew: a third of a second of a start.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)


def _plugins() -> importlib.metadata.EntryPoints:
    """What is installed that brings jax to other devices."""
    return importlib.metadata.entry_points(group="jax_plugins")


@functools.cache
def _mend_cache() -> None:
    """Removes entries of the cache that jax cannot read: it then writes them anew.

    It tells of them by a warning each, and would at every later start. That there is no room for
    new ones is said in a line, once.
    """
    before = warnings.showwarning
    said = False

    def show(message: Any, *about: Any, **more: Any) -> None:
        nonlocal said
        if problem := _NOT_WRITTEN.match(str(message)):
            if not said:
                print(f"warning: compiled programs are not kept: {problem[1]}", file=sys.stderr)
            said = True
            return
        if not (damaged := _DAMAGED.match(str(message))):
            before(message, *about, **more)
            return
        folder = pathlib.Path(jax.config.values["jax_compilation_cache_dir"])
        for path in folder.glob(f"{damaged[1]}-*-cache"):
            path.unlink(missing_ok=True)

    warnings.showwarning = show


def compiler_options(device: jax.Device) -> dict[str, Any] | None:
    """For programs that run long on this device; None: as XLA likes."""
    # Bits of a register: all that AVX-512 has, not half of it; less where a CPU has less.
    return {"xla_cpu_prefer_vector_width": 512} if device.platform == "cpu" else None


def cores() -> list[int]:
    """The CPU cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def processor() -> str:
    """The CPU as it calls itself."""
    models = _about_processor("model name")
    return models[0].partition(":")[2].strip() if models else "unknown"


def _about_processor(*beginnings: str) -> list[str]:
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:  # not on Linux
        lines = []
    return sorted({line for line in lines if line.startswith(beginnings)})
