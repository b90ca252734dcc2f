"""The time from the command to the first step of the position table at depth 110, by its parts."""

import json
import pathlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence

import jax
import numpy as np

from benchmarks.harness.catalog import load_settings
from benchmarks.harness.planning import make_plan
from benchmarks.preresnet import STUDY
from benchmarks.throughput import workload
from flaxdrop.training.cells import compile_programs
from flaxdrop.training.tracing import make_mesh, on_every_device

Seconds = Mapping[str, float]


def measure(dataset: str) -> dict[str, Seconds]:
    """Runs the command in processes of its own: without compiled programs, then with them.

    Args:
      dataset: as in `Settings`; empty: noise of the size of CIFAR.

    Returns:
      "cold" and "warm" -> part -> its seconds; "begun" is when the first step began, seconds after
      the command.

    Raises:
      OSError: the command failed; its last words.
    """
    found: dict[str, Seconds] = {}
    with tempfile.TemporaryDirectory() as folder:
        if not dataset:
            dataset = f"npz:{_noise(pathlib.Path(folder))}"
        for name in ("cold", "warm"):
            began = time.monotonic()  # one clock for all processes
            done = subprocess.run(
                [sys.executable, "-m", __spec__.name, dataset, f"{folder}/cache"],
                capture_output=True,
                text=True,
            )
            if done.returncode:
                raise OSError(done.stderr.strip().splitlines()[-1])
            parts = json.loads(done.stdout)
            found[name] = parts | {"begun": parts["begun"] - began}
    return found


def _noise(folder: pathlib.Path) -> pathlib.Path:
    x, y = workload.examples()
    path = folder / "noise.npz"
    np.savez(path, x_train=x, y_train=y, x_test=x[:10_000], y_test=y[:10_000])
    return path


def main(arguments: Sequence[str]) -> None:
    """Takes the first step and prints the seconds of each part as JSON.

    Args:
      arguments: dataset, folder of compiled programs.
    """
    dataset, cache = arguments
    jax.config.update("jax_compilation_cache_dir", cache)
    settings = load_settings(STUDY, "configs/cifar100.py", dataset=dataset)
    began = time.perf_counter()
    plan = make_plan(STUDY, settings, None)
    images = jax.block_until_ready(on_every_device(make_mesh(plan.devices), plan.images.as_rows()))
    data = time.perf_counter() - began
    (family,) = plan.families
    task, cell = plan.task(family), plan.cell("p6", 0)
    programs = compile_programs(task, images, cell, plan.devices)
    cells = programs.place([cell] * programs.cells_in_parallel)
    states = programs.start(cells)
    jax.block_until_ready(states)
    begun = time.monotonic()
    jax.block_until_ready(programs.train(1, cells, states).step)
    step = time.monotonic() - begun
    parts = {"data": data, "compile": programs.compile_seconds, "begun": begun, "first step": step}
    print(json.dumps(parts))


if __name__ == "__main__":
    main(sys.argv[1:])
