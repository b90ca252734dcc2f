"""What docs/running.md promises of results: the same bits, however many cores there are."""

import os
import subprocess

import pytest

pytestmark = pytest.mark.slow

FIELDS = {"train_examples": 300, "depth": 8, "widths": (16, 32, 64), "batch": 50, "epochs": 1}


# A machine with more cores, as far as jax and XLA ask for them.
PRETENDED = """
import flaxdrop.training.environment as environment
environment.cores = lambda: list(range({count}))
"""


def test_any_number_of_cores_gives_the_same_bits(shell, folder, digests_in):
    # A network so small that XLA cuts no loop into parts would be the same in any case.
    fields = [f"--config.{name}={value}" for name, value in FIELDS.items()]
    fields += ["--config.seeds=1", "--config.variants=p6", "--config.devices=1"]
    one, *_ = sorted(os.sched_getaffinity(0))
    for workdir, before in {
        "all": "",
        "one": f"import os; os.sched_setaffinity(0, {{{one}}})",
        "three": PRETENDED.format(count=3),
        "sixteen": PRETENDED.format(count=16),
    }.items():
        run = subprocess.run(**shell("--workdir", workdir, *fields, before=before))
        assert run.returncode == 0
        assert digests_in(folder / workdir) == digests_in(folder / "all")
