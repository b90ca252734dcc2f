"""Breaks runs in every way it can, until its time is spent, and counts what holds.

    python -m tests.torture --minutes 60

A run is killed at any moment or at a call of the file system that is chosen by chance, or its disk
fails from such a call on: it is full, has no inodes, or gives EIO. Then the same command goes on,
until it is finished. It holds if the digests are those of a run that nobody disturbed, no row is
there twice, and nothing half-written is left. Command lines with fields by chance hold if they end
with status 0 or 2, in one line, with bounded time and memory. The words of masks go through
batteries of statistical tests.
"""

import argparse
import pathlib
import sys
import tempfile
import time

from tests.torture.fuzz import fuzz
from tests.torture.runs import Torture


def _fuzz(torture: Torture) -> None:
    for words in fuzz(torture.zygote, torture.chance.randrange(2**32), _CASES):
        torture.check("command lines with fields by chance", not words, words)


def _count_words(torture: Torture) -> None:
    torture.words.add(_BLOCKS)
    torture.counts["words of masks"] = torture.words.words


WAYS = {
    "kills": Torture.kills,
    "calls": Torture.kills_at_calls,
    "disks": Torture.bad_disks,
    "files": Torture.small_files,
    "fields": _fuzz,
    "words": _count_words,
}
_CASES = 20  # command lines a turn
_BLOCKS = 8  # of the words of each axis


def main() -> int:
    """Tortures until the time is spent; status 1 if anything did not hold."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--ways", default=",".join(WAYS), help="those to take (default: all)")
    options = parser.parse_args()
    end = time.monotonic() + 60 * options.minutes
    with tempfile.TemporaryDirectory(prefix="torture") as folder:
        torture = Torture(pathlib.Path(folder), options.seed)
        ways = options.ways.split(",")
        if not torture.shim:
            print("no C compiler: nothing is done at calls of the file system")
            ways = [name for name in ways if name not in ("calls", "disks")]
        turn = 0
        while time.monotonic() < end:
            WAYS[ways[turn % len(ways)]](torture)
            turn += 1
        if torture.words.words:
            faults = torture.words.faults()
            torture.check("batteries of tests of the words", not faults, str(faults))
    print(f"seed {options.seed}")
    for words, count in sorted(torture.counts.items()):
        print(f"{count:6} {words}")
    for fault in torture.faults:
        print(fault)
    return 1 if torture.faults else 0


if __name__ == "__main__":
    sys.exit(main())
