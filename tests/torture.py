"""Breaks runs in every way it can, until its time is spent, and counts what holds.

    python tests/torture.py --minutes 60

A run is killed at any moment, ends at a call of the file system that is chosen by chance, or finds
the disk full; then the same command goes on, until it is finished. It holds if the digests are
those of a run that nobody disturbed, no row is there twice, and nothing half-written is left.
Command lines with fields by chance hold if they end with status 0 or 2, in one line, in time.
"""

import argparse
import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter

ROOT = pathlib.Path(__file__).parents[1]
CONFIG = """
from benchmarks.preresnet import PreResNetSettings


def get_config():
    config = PreResNetSettings.config()
    config.dataset = "digits"
    config.train_examples, config.test_examples = 60, 50
    config.depth, config.widths = 4, (4,)
    config.rate = 0.5
    config.variants, config.seeds = "none,p6", 2
    config.epochs, config.batch = 3, 20
    config.checkpoint_seconds = 0.01
    return config
"""
# Ends the process at the n-th call of these: before it or, where half is set, after half a write.
CRASH = """
import os, runpy, sys
left = {count}
def wrapped(name, call):
    def crash(*arguments, **options):
        global left
        left -= 1
        if left == 0:
            if name == "write" and {half}:
                call(arguments[0], arguments[1][: len(arguments[1]) // 2])
            os._exit(77)
        return call(*arguments, **options)
    return crash
import numpy, jax, orbax.checkpoint, matplotlib.pyplot
for name in ("write", "rename", "replace", "mkdir", "unlink", "rmdir", "fsync", "ftruncate"):
    setattr(os, name, wrapped(name, getattr(os, name)))
sys.argv[0] = "benchmarks.preresnet"
runpy.run_module("benchmarks.preresnet", run_name="__main__", alter_sys=True)
"""
FULL = """
import resource, runpy, sys
import numpy, jax, orbax.checkpoint, matplotlib.pyplot
resource.setrlimit(resource.RLIMIT_FSIZE, ({count}, resource.RLIM_INFINITY))
sys.argv[0] = "benchmarks.preresnet"
runpy.run_module("benchmarks.preresnet", run_name="__main__", alter_sys=True)
"""
VALUES = [
    *(-1, 0, 1, 2, 3, 7, 8, 20, 10**3, 10**6, 2**31 - 1, 2**31, 2**63, 10**30),
    *(0.0, 0.1, 0.5, 1.0, -0.5, 1e-300, 1e300, "nan", "inf", "-inf", 10.0**9),
    *(
        "",
        "none",
        "p6",
        "p6,p6",
        "x",
        "[v2]",
        "p6=0.1",
        "p6=0_1",
        "\uff10",
        "\x1b[31m",
        "a" * 10**4,
    ),
    *("()", "(0,)", "(-1,)", "(1,2,3)", "(4,)", "(1000000000,)", "(0.5,)", "(nan,)", "[[]]", "{}"),
    *("True", "False", "None", "digits", "npz:/nowhere", "folder:/", "sgd", "step", "element"),
]
FUZZ_SECONDS, FUZZ_BYTES = 120, 6 << 30
RUN_SECONDS = 300


def command(folder: pathlib.Path, *arguments: str, program: str = "") -> list[str]:
    """The command line of a run."""
    start = ["-c", program] if program else ["-m", "benchmarks.preresnet"]
    return [sys.executable, *start, "--config", str(folder / "torture.py"), *arguments]


def environment(folder: pathlib.Path) -> dict[str, str]:
    """Of all runs: they share a cache, which lies beside them."""
    return {**os.environ, "PYTHONPATH": str(ROOT), "FLAXDROP_CACHE": str(folder / "cache")}


def digests(work: pathlib.Path) -> list[tuple[str, int, str]]:
    """Variant, seed and digest of every row."""
    rows = map(json.loads, filter(None, (work / "ledger.jsonl").read_text().splitlines()))
    return sorted((row["variant"], row["seed"], row["digest"]) for row in rows)


class Torture:
    """One session: where it is, what is right, and what was counted."""

    def __init__(self, folder: pathlib.Path, seed: int) -> None:
        self.folder, self.chance = folder, random.Random(seed)
        self.counts: Counter[str] = Counter()
        self.faults: list[str] = []
        (folder / "torture.py").write_text(CONFIG)
        began = time.monotonic()
        self.run("--workdir", str(folder / "whole"))
        self.seconds = time.monotonic() - began  # of a run from a cold cache
        began = time.monotonic()
        self.run("--workdir", str(folder / "again"))
        self.seconds = min(self.seconds, time.monotonic() - began)
        self.right = digests(folder / "whole")
        self.check("a run from a warm cache", digests(folder / "again") == self.right, "digests")

    def run(self, *arguments: str, program: str = "", kill: float | None = None):
        """Runs the command, and kills it after so many seconds."""
        process = subprocess.Popen(
            command(self.folder, *arguments, program=program),
            env=environment(self.folder),
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        try:
            out, err = process.communicate(timeout=kill or RUN_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            out, err = process.communicate()
        return process.returncode, out, err

    def check(self, kind: str, holds: bool, words: str) -> None:
        """Counts a case."""
        self.counts[f"{kind}: {'holds' if holds else 'FAILS'}"] += 1
        if not holds:
            self.faults.append(f"{kind}: {words}")

    def disturbed(self, kind: str) -> None:
        """Disturbs a run one to three times, lets it go on, and looks at what it leaves."""
        work = self.folder / "work"
        shutil.rmtree(work, ignore_errors=True)
        chosen = []
        for _ in range(self.chance.randint(1, 3)):
            if kind == "kill -9":
                chosen.append(self.chance.uniform(0.3, 1.1) * self.seconds)
                self.run("--workdir", str(work), kill=chosen[-1])
                continue
            if kind == "crash at a call":
                chosen.append(self.chance.randint(1, 400))
                half = self.chance.random() < 0.5
                program = CRASH.format(count=chosen[-1], half=half)
                self.run("--workdir", str(work), program=program)
                continue
            chosen.append(int(10 ** self.chance.uniform(1, 5.5)))
            status, _, err = self.run("--workdir", str(work), program=FULL.format(count=chosen[-1]))
            told = [line for line in err.splitlines() if line.startswith(("error: ", "Traceback"))]
            fine = status == 0 or (status == 2 and len(told) == 1 and "Trace" not in told[0])
            self.check("full disk, what is said", fine, f"{chosen}: {status} {err[-500:]!r}")
        status, _, err = self.run("--workdir", str(work))
        same = status == 0 and digests(work) == self.right
        left = [str(path) for path in work.rglob("*") if "tmp" in path.name or "half" in path.name]
        self.check(kind, same and not left, f"{chosen}: {status} {left} {err[-500:]!r}")

    def fuzz(self) -> None:
        """One command line with one to three fields by chance."""
        sys.path.insert(0, str(ROOT))
        from benchmarks.preresnet import STUDY

        fields = list(STUDY.settings.__dataclass_fields__)
        chosen = self.chance.sample(fields, self.chance.randint(1, 3))
        arguments = [f"--config.{name}={self.chance.choice(VALUES)}" for name in chosen]
        program = (
            f"import resource, runpy, sys; resource.setrlimit(resource.RLIMIT_DATA, ({FUZZ_BYTES},)"
            " * 2); runpy.run_module('benchmarks.preresnet', run_name='__main__', alter_sys=True)"
        )
        status, _, err = self.run("--dry_run", *arguments, program=program, kill=FUZZ_SECONDS)
        lines = [line for line in err.splitlines() if not line.startswith("warning: ")]
        fine = status == 0 or (status == 2 and len(lines) == 1)
        self.check("fuzz", fine, f"{str(arguments)[:300]}: {status} {err[-300:]!r}")


def main() -> int:
    """Tortures until the time is spent; status 1 if anything did not hold."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    options = parser.parse_args()
    end = time.monotonic() + 60 * options.minutes
    with tempfile.TemporaryDirectory(prefix="torture") as folder:
        torture = Torture(pathlib.Path(folder), options.seed)
        ways = [
            lambda: torture.disturbed("kill -9"),
            lambda: torture.disturbed("crash at a call"),
            lambda: torture.disturbed("full disk"),
            torture.fuzz,
        ]
        for turn in range(10**9):
            if time.monotonic() >= end:
                break
            ways[turn % len(ways)]()
    print(f"seed {options.seed}")
    for words, count in sorted(torture.counts.items()):
        print(f"{count:6} {words}")
    for fault in torture.faults:
        print(fault)
    return 1 if torture.faults else 0


if __name__ == "__main__":
    sys.exit(main())
