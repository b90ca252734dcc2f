import os
import random
import signal
import subprocess
import time

import pytest

pytestmark = pytest.mark.slow

SIGNALS = [*[signal.SIGKILL] * 2, signal.SIGTERM, *[signal.SIGKILL] * 2, signal.SIGINT]
OFTEN = "--config.checkpoint_seconds=0.01"  # most of the time is spent on checkpoints


@pytest.fixture
def start(shell):
    """Starts the command in a process of its own; it does not outlive the test."""
    started = []

    def process(*arguments):
        process = subprocess.Popen(
            **shell(*arguments, config="tiny.py:long"),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        started.append(process)
        return process

    yield process
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def wait_for_progress(process, checkpoints):
    """Returns when a checkpoint is begun that was not there before."""
    before = set(checkpoints.glob("*/*"))
    give_up = time.monotonic() + 300
    while set(checkpoints.glob("*/*")) <= before:
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < give_up
        time.sleep(0.002)


def test_interrupted_again_and_again_a_run_ends_with_the_same_bits(
    start, folder, cells_in, digests_in
):
    whole = start("--workdir", "whole")
    said, complaint = whole.communicate()
    assert whole.returncode == 0, complaint

    delays = random.Random(0)
    checkpoints, ledger = folder / "parts" / "checkpoints", folder / "parts" / "ledger.jsonl"
    finished = b""
    for number in SIGNALS:
        process = start("--workdir", "parts", OFTEN)
        wait_for_progress(process, checkpoints)
        time.sleep(delays.uniform(0, 0.4))
        assert process.poll() is None, "the run was over before it could be interrupted"
        os.killpg(process.pid, number)
        said, complaint = process.communicate()
        assert "Traceback" not in complaint
        if number == signal.SIGKILL:
            assert process.returncode == -number
        else:
            assert process.returncode == 128 + number
            assert f"stopped by {number.name}: " in said
            assert "of 4 cells are finished, those in training are saved; run the same" in said
        # What is finished stays as it is.
        found = ledger.read_bytes() if ledger.exists() else b""
        assert found.startswith(finished)
        finished = found[: found.rfind(b"\n") + 1]

    process = start("--workdir", "parts")
    said, complaint = process.communicate()
    assert process.returncode == 0, complaint
    assert ledger.read_bytes().startswith(finished)
    assert len(cells_in(folder / "parts")) == 4
    assert digests_in(folder / "parts") == digests_in(folder / "whole")
    assert not list(checkpoints.glob("*/*tmp*"))
