"""Runs that are disturbed, and the one that nobody disturbs: what they leave must be the same."""

import json
import pathlib
import random
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Mapping

from tests.torture.masks import MaskWords
from tests.torture.zygote import Ended, Zygote

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
RUN_SECONDS = 600
DISKS = ("full", "inodes", "broken")  # what the shim lets a disk be
KILLS = ("kill", "half")
MOST = 6  # times that a run is disturbed before it goes on to its end
COLD = 0.1  # of the runs begin without compiled programs and decoded data


class Torture:
    """One session: where it is, what is right, and what was counted.

    Args:
      folder: an empty one.
      seed: of what is left to chance.
    """

    def __init__(self, folder: pathlib.Path, seed: int) -> None:
        self.folder, self.chance = folder, random.Random(seed)
        self.counts: Counter[str] = Counter()
        self.faults: list[str] = []
        self.words = MaskWords()
        self.shim = build_shim(folder)
        self.zygote = Zygote(folder, self.shim)
        (folder / "torture.py").write_text(CONFIG)
        self.run("whole")  # its time is that of the imports, too
        self.right = digests(folder / "whole")
        self.seconds, self.calls = {}, {}  # of a run; its calls that change files in a part
        for part in ("work", "cache"):
            shutil.rmtree(folder / "work", ignore_errors=True)
            if part == "cache":
                shutil.rmtree(folder / "cache")
            count = folder / f"calls-{part}"
            began = time.monotonic()
            ended = self.run("work", self.shimmed("count", part, 0, TORTURE_COUNT=str(count)))
            self.seconds[part] = time.monotonic() - began
            same = ended.status == 0 and digests(folder / "work") == self.right
            self.check("a run again", same, f"{ended}")
            if self.shim:
                self.calls[part] = max(map(int, count.read_text().split()))

    def shimmed(self, do: str, part: str, call: int, **more: str) -> dict[str, str]:
        """The environment of a run in which the shim does something at a call.

        Args:
          do: as in `shim.c`.
          part: of the session's folder: `work` or `cache`.
          call: its number.
          more: other variables.
        """
        under = {"TORTURE_UNDER": str((self.folder / part).resolve())}
        return {"TORTURE_DO": do, "TORTURE_AT": str(call), **under, **more}

    def run(
        self,
        workdir: str,
        env: Mapping[str, str] | None = None,
        seconds: float = RUN_SECONDS,
        limits: Mapping[str, int] | None = None,
    ) -> Ended:
        """Runs the command; its arguments are as of `Zygote.run`."""
        words = ("--config", "torture.py", "--workdir", str(self.folder / workdir))
        return self.zygote.run(
            "benchmarks.preresnet", *words, seconds=seconds, env=env, limits=limits
        )

    def check(self, kind: str, holds: bool, words: str) -> None:
        """Counts a case."""
        self.counts[f"{kind}: {'holds' if holds else 'FAILS'}"] += 1
        if not holds:
            self.faults.append(f"{kind}: {words}")

    def kills(self) -> None:
        """Kills a run at some moments, and lets it go on."""

        def kill(part: str) -> str:
            after = self.chance.uniform(0, 1.05) * self.seconds[part]
            ended = self.run("work", seconds=after)
            self.counts["kills -9 at a moment"] += ended.status == -signal.SIGKILL
            return f"after {after:.2f} s"

        self._disturbed("killed at moments", kill)

    def kills_at_calls(self) -> None:
        """Kills a run at some calls of the file system, and lets it go on."""

        def kill(part: str) -> str:
            do, call = self.chance.choice(KILLS), self.chance.randint(1, self.calls[part])
            ended = self.run("work", self.shimmed(do, part, call))
            self.counts["kills -9 at a call"] += ended.status == -signal.SIGKILL
            return f"{do} at call {call} in {part}"

        self._disturbed("killed at calls", kill)

    def bad_disks(self) -> None:
        """Lets the disk of a run fail from one of its calls on, mends it, and lets it go on."""

        def fail(part: str) -> str:
            do, call = self.chance.choice(DISKS), self.chance.randint(1, self.calls[part])
            ended = self.run("work", self.shimmed(do, part, call))
            words = f"{do} from call {call} in {part} on"
            self.check(f"{do} disk, what is said", told(ended), f"{words}: {ended}")
            return words

        self._disturbed("bad disks", fail)

    def small_files(self) -> None:
        """Lets no file grow beyond a size."""

        def fail(_: str) -> str:
            # What it says goes into a file, too, and must fit.
            size = int(10 ** self.chance.uniform(4, 5.5))
            ended = self.run("work", limits={"RLIMIT_FSIZE": size})
            words = f"files of {size} bytes"
            self.check("small files, what is said", told(ended), f"{words}: {ended}")
            return words

        self._disturbed("small files", fail)

    def _disturbed(self, kind: str, disturb: Callable[[str], str]) -> None:
        """Disturbs a run a few times, lets it go on, and looks at what it leaves."""
        work = self.folder / "work"
        shutil.rmtree(work, ignore_errors=True)
        part = "work"
        if self.chance.random() < COLD:
            shutil.rmtree(self.folder / "cache")
            part = "cache"
        done = [disturb(part) for _ in range(self.chance.randint(1, MOST))]
        ended = self.run("work")
        same = ended.status == 0 and digests(work) == self.right
        left = [str(path) for path in work.rglob("*") if "tmp" in path.name or "half" in path.name]
        self.check(kind, same and not left, f"{done}: {left} {ended}")


def told(ended: Ended) -> bool:
    """Whether a run that a disk disturbed said so in one line, or was not disturbed."""
    lines = [line for line in ended.err.replace("\r", "\n").splitlines() if line.strip()]
    lines = [line for line in lines if "img/s" not in line and not line.startswith("warning: ")]
    if ended.status == 0:
        return not lines
    return ended.status == 2 and len(lines) == 1 and lines[0].startswith("error: ")


def digests(work: pathlib.Path) -> list[tuple[str, int, str]]:
    """Variant, seed and digest of every row."""
    rows = map(json.loads, filter(None, (work / "ledger.jsonl").read_text().splitlines()))
    return sorted((row["variant"], row["seed"], row["digest"]) for row in rows)


def build_shim(folder: pathlib.Path) -> pathlib.Path | None:
    """Compiles `shim.c`; None: there is no compiler, or none that makes such a library."""
    library = folder / "shim.so"
    source = pathlib.Path(__file__).with_name("shim.c")
    command = ["cc", "-shared", "-fPIC", "-O1", "-o", str(library), str(source), "-ldl"]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return library
