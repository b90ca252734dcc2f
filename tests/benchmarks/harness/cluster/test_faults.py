"""Hosts die, links are cut, drivers are killed: every row is there once, with its serial digest."""

import contextlib
import functools
import os
import pathlib
import signal
import time

import pytest

from benchmarks.harness.command import execute
from benchmarks.preresnet import STUDY
from tests.benchmarks.conftest import TINY, as_in_a_process_of_its_own
from tests.benchmarks.harness.cluster.lab import QUICK, Lab

pytestmark = [pytest.mark.slow, pytest.mark.optimised]

# Nine cells of some seconds each.
FIELDS = ("--config.variants=none,p4,p6", "--config.seeds=3", "--config.epochs=1000")
OFTEN = "--config.checkpoint_seconds=1"


@pytest.fixture
def study(lab):
    """Starts the study on the cluster."""
    return lambda host, *more: host.start(*lab.study("--workdir", "wide", *FIELDS, OFTEN, *more))


@pytest.fixture(scope="module")
def serial(tmp_path_factory, digests_in):
    """Fields of the config -> the digests of this machine alone."""
    folder = tmp_path_factory.mktemp("serial")
    (folder / "tiny.py").write_text(TINY)

    @functools.cache
    def train(*fields):
        workdir = folder / str(len(list(folder.iterdir())))
        words = ("--config", folder / "tiny.py", "--workdir", workdir, *fields)
        with as_in_a_process_of_its_own():
            assert execute(STUDY, ["preresnet", *map(str, words)]) == 0
        return digests_in(workdir)

    return train


@pytest.fixture
def is_serial(lab, serial, rows_in, digests_in):
    """Whether the rows of the cluster are those of this machine alone."""

    def check(*fields):
        right, wide = serial(*(fields or FIELDS)), lab.folder / "wide"
        assert len(rows_in(wide)) == len(right)
        return digests_in(wide) == right

    return check


def until(condition, seconds=300):
    """Waits until something holds."""
    give_up = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < give_up
        time.sleep(0.02)


def saved_by(lab, host):
    """The checkpoints that a host has written and nobody has removed."""
    return list((lab.folder / "wide/checkpoints").glob(f"*/attempt-{host.address}-*/*"))


def end(process, status=0):
    """Waits for a command that says nothing of Ray."""
    said, complaint = process.communicate()
    assert process.returncode == status, complaint
    for word in ("Traceback", "raylet", "core_worker", "NodeID"):
        assert word not in said + complaint
    return said, complaint


def kill(process):
    """Kills a command on a host, with signal 9."""
    # The process that was started is the one that entered the host.
    children = pathlib.Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
    for number in children.split() or [process.pid]:
        os.kill(int(number), signal.SIGKILL)
    process.communicate()


def test_a_host_is_killed_and_another_joins_late(lab, study, is_serial):
    head, second = lab.up(2)
    running = study(head)
    until(lambda: saved_by(lab, second))
    second.kill()
    (third,) = lab.up(1)
    said, _ = end(running)
    assert "host 10.77.0.2 is gone" in said
    assert "host 10.77.0.3 has joined" in said
    assert saved_by(lab, third)
    assert is_serial()


def test_a_link_is_cut_for_half_a_minute(lab, is_serial):
    lab.environment.update(QUICK)
    # Two long cells on three hosts: the third one takes the cell of the one that is cut off.
    fields = ("--config.variants=none,p6", "--config.seeds=1", "--config.epochs=3000")
    head, *others = lab.up(3)
    running = head.start(*lab.study("--workdir", "wide", *fields, OFTEN))
    until(lambda: [host for host in others if saved_by(lab, host)])
    (cut, *_) = [host for host in others if saved_by(lab, host)]
    cut.unplug()
    end_of_cut = time.monotonic() + 30

    def is_on_two_hosts():
        cells = (lab.folder / "wide").glob("checkpoints/*")
        return any(len({path.parent for path in cell.glob("attempt-*/*")}) > 1 for cell in cells)

    until(lambda: is_on_two_hosts() and time.monotonic() > end_of_cut)
    cut.plug()
    end(running)
    assert is_serial(*fields)


def test_the_driver_is_killed_and_started_again(lab, study, is_serial):
    head, second = lab.up(2)

    def disturb():
        before = set((lab.folder / "wide").glob("checkpoints/*/attempt-*"))
        running = study(head)
        until(lambda: set((lab.folder / "wide").glob("checkpoints/*/attempt-*")) - before)
        kill(running)

    disturb()
    disturb()
    end(study(second))  # from another host
    assert is_serial()


def test_the_head_dies_and_another_one_goes_on(lab, study, is_serial):
    head, second, _ = lab.up(3)
    running = study(second)
    ledger = lab.folder / "wide/ledger.jsonl"
    until(ledger.exists)
    head.kill()
    _, complaint = end(running, status=2)
    assert complaint.rstrip().splitlines()[-1].startswith("error: cluster: its head at 10.77.0.1")
    done = ledger.read_text().count("\n")
    again = Lab(lab.folder, name="again")
    with contextlib.closing(again):
        others = again.up(2)
        said, _ = end(others[1].start(*again.study("--workdir", "wide", *FIELDS)))
    assert f"{9 - done} cells to train, {done} finished before" in said
    assert is_serial()


def test_of_200_cells_none_is_lost_and_none_is_twice(lab, is_serial):
    fields = (
        "--config.variants=none,p0,p1,p2,p3,p4,p6,p7",
        "--config.seeds=25",
        "--config.epochs=1",
        "--config.cells_per_device=5",
    )
    head, second, third = lab.up(3)
    running = head.start(*lab.study("--workdir", "wide", *fields))
    until(lambda: saved_by(lab, second))
    second.kill()
    end(running)
    assert saved_by(lab, third)
    assert is_serial(*fields)
