import math
import sys

import pytest

from benchmarks.throughput.contest import Contestant, Result, in_rounds, run_interleaved

SERVES = """
import time
from benchmarks.harness.arguments import Flag
from benchmarks.throughput.contest import take_part
def prepare(options):
    print("libraries say what they like")
    def work():
        time.sleep(options.seconds)
        return 1.0
    return work, {"told": options.seconds}
take_part([Flag("seconds", 1.0, "of a round")], prepare)
"""


@pytest.fixture
def contestant(tmp_path, monkeypatch):
    (tmp_path / "serves.py").write_text(SERVES)
    (tmp_path / "falls.py").write_text("raise SystemExit('no such library')")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{':'.join(sys.path)}")
    return lambda name, *command, cores=None: Contestant(name, command, cores)


def test_all_take_the_rounds_and_one_that_fails_drops_out(contestant):
    found = run_interleaved(
        [
            contestant("slow", "serves", "--seconds=0.2"),
            contestant("fast", "serves", "--seconds=0.02"),
            contestant("out", "falls"),
        ],
        rounds=3,
    )
    assert found["slow"].about["told"] == 0.2
    assert len(found["slow"].speeds) == len(found["fast"].speeds) == 3
    # A process that sleeps ten times as long cannot be faster, however busy the machine.
    assert found["slow"].speed <= 5
    assert found["out"] == Result(failure="no such library")
    assert math.isnan(found["out"].speed)


def test_processes_of_a_team_work_at_the_same_time(contestant):
    found = run_interleaved([contestant("team", "serves", "--seconds=0.5", cores=(0, 0))], rounds=1)
    # Two units in about half a second: one after the other they would be 2 a second at most.
    assert 2 < found["team"].speed <= 4


def test_a_round_has_four_steps_at_least():
    counts = []
    work, _ = in_rounds(counts.append, 0.0, unit=128)
    assert work() == 4 * 128
    assert counts == [1, 1, 4]
