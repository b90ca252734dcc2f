"""Interleaved benchmarks: contestants take turns, each in its own process.

A contestant is a module that calls `take_part`. It prepares itself, then does a round of work for
every line it is sent, while the others wait. Speeds are compared round by round, so that a machine
that slows down between two rounds does not favour anyone.
"""

import contextlib
import dataclasses
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

from benchmarks.harness.arguments import Flag, parse_flags

_KIB = 1024


@dataclasses.dataclass(frozen=True)
class Contestant:
    """A program that takes part in an interleaved benchmark.

    Attributes:
      name: unique in the contest.
      command: a module and its arguments.
      cores: the CPU cores of each of its processes, which work at the same time; None: one process
        with all cores.
    """

    name: str
    command: tuple[str, ...]
    cores: tuple[int, ...] | None = None


@dataclasses.dataclass(frozen=True)
class Result:
    """The speeds of a contestant.

    Attributes:
      speeds: work a second (images, if nothing else is said), one for each round.
      about: what it said of itself; peak memory and seconds until it was ready.
      failure: its last words, when it could not take part; then there are no speeds.
    """

    speeds: tuple[float, ...] = ()
    about: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    failure: str = ""

    @property
    def speed(self) -> float:
        """The median of its rounds; NaN without any."""
        return statistics.median(self.speeds) if self.speeds else float("nan")


def run_interleaved(contestants: Sequence[Contestant], rounds: int) -> dict[str, Result]:
    """Lets every contestant do `rounds` rounds, in turn.

    One that fails drops out, with what it said on its standard error.
    """
    with contextlib.ExitStack() as stack:
        teams = {contestant.name: _Team(contestant, stack) for contestant in contestants}
        for team in teams.values():
            team.get_ready()
        for _ in range(rounds):
            for team in teams.values():
                team.work()
        return {name: team.result() for name, team in teams.items()}


class _Team:
    """The processes of a contestant; they work at the same time, and end with the stack."""

    def __init__(self, contestant: Contestant, stack: contextlib.ExitStack) -> None:
        cores = contestant.cores or (None,)
        self.processes = [_Process(contestant.command, core, stack) for core in cores]
        self.speeds: list[float] = []
        self.about: dict[str, Any] = {}
        self.failure = ""

    def get_ready(self) -> None:
        began = time.perf_counter()
        said = self._all()
        if said:
            self.about = {**said[0], "ready_seconds": time.perf_counter() - began}

    def work(self) -> None:
        if self.failure:
            return
        began = time.perf_counter()
        if said := self._all("round"):
            seconds = time.perf_counter() - began
            self.speeds.append(sum(each["work"] for each in said) / seconds)
            self.about["peak_bytes"] = sum(each["peak_bytes"] for each in said)

    def result(self) -> Result:
        if self.failure:
            return Result(failure=self.failure)
        return Result(tuple(self.speeds), self.about)

    def _all(self, order: str | None = None) -> list[dict[str, Any]]:
        for process in self.processes:
            process.send(order or "start")
        said = [process.receive() for process in self.processes]
        self.failure = next((each["failure"] for each in said if "failure" in each), "")
        return [] if self.failure else said


class _Process:
    def __init__(
        self, command: Sequence[str], core: int | None, stack: contextlib.ExitStack
    ) -> None:
        self.errors = stack.enter_context(tempfile.TemporaryFile("w+"))  # noqa: SIM115
        with _only(core):  # a child inherits it
            self.process = subprocess.Popen(
                [sys.executable, "-m", *command],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self.errors,
                text=True,
            )
        stack.enter_context(self.process)
        stack.callback(self.process.kill)

    def send(self, order: str) -> None:
        assert self.process.stdin is not None
        # Not through its buffer, which would keep what a process that has ended did not take.
        with contextlib.suppress(BrokenPipeError):
            os.write(self.process.stdin.fileno(), f"{order}\n".encode())

    def receive(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if line:
            return json.loads(line)
        self.process.wait()
        self.errors.seek(0)
        words = [line.strip() for line in self.errors.read().splitlines() if line.strip()]
        return {"failure": words[-1] if words else f"exit status {self.process.returncode}"}


@contextlib.contextmanager
def _only(core: int | None) -> Iterator[None]:
    if core is None:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


Prepared = tuple[Callable[[], float], Mapping[str, Any]]


def take_part(known: Sequence[Flag], prepare: Callable[[SimpleNamespace], Prepared]) -> None:
    """Runs a contestant: prepares, then does one round for every line on its standard input.

    Args:
      known: the flags of its command line.
      prepare: of their values; returns the function that does a round and says how much work it
        was, and what there is to say about the contestant.
    """
    options = parse_flags(known, sys.argv[1:])
    # Libraries print what they like; the answers must stay alone.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", buffering=1)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    sys.stdin.readline()
    work, about = prepare(options)
    print(json.dumps(dict(about)), file=answers)
    for _ in sys.stdin:
        done = work()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _KIB
        print(json.dumps({"work": done, "peak_bytes": peak}), file=answers)


def in_rounds(
    step: Callable[[int], Any], seconds: float, *, unit: float = 1.0, fewest: int = 4
) -> tuple[Callable[[], float], float]:
    """Tries two steps, and takes as many for a round as the second tells.

    Args:
      step: does that many steps, and waits for them.
      seconds: that a round lasts, about.
      unit: work of a step.
      fewest: steps a round at least: where contestants take turns, the first step after a pause
        finds its memory cold.

    Returns:
      What does a round and says how much work it was; seconds that the first step took, with what
      it had to compile.
    """
    first, second = (_seconds(step) for _ in range(2))
    count = max(fewest, round(seconds / second))

    def work() -> float:
        step(count)
        return count * unit

    return work, first


def _seconds(step: Callable[[int], Any]) -> float:
    began = time.perf_counter()
    step(1)
    return time.perf_counter() - began
