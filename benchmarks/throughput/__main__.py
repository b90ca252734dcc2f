"""Measures how fast flaxdrop trains on this machine, beside PyTorch and plain Flax.

    python -m benchmarks.throughput

Needs `pip install '.[baselines]'` for PyTorch; without it those rows say so. The machine's other
programs should rest: speeds are compared round by round, but caches are shared.
"""

import datetime
import json
import subprocess
import sys
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

from benchmarks.harness.arguments import Flag, tool
from benchmarks.harness.precision import PRECISIONS
from benchmarks.harness.workfolder import LEDGERS
from benchmarks.throughput import contests, first_step, workload
from benchmarks.throughput.contest import Result, run_interleaved
from benchmarks.throughput.contests import InterleavedBenchmark, Measurement
from benchmarks.throughput.record import FILE, record, section
from flaxdrop.results import provenance
from flaxdrop.training.environment import cores, processor

# In a process of its own: a GPU whose memory this one holds is none for the contestants.
_ASK = (
    "import jax; device = jax.devices()[0]; print(device.platform, device.device_kind, sep='\\n')"
)


def chosen(options: SimpleNamespace, platform: str) -> list[InterleavedBenchmark]:
    """The interleaved benchmarks that the options ask for."""
    gpu, own = platform == "gpu", cores()
    seconds, names = str(options.seconds), options.workloads.split(",")
    common = ("--seconds", seconds, "--precision", options.precision)
    how = {"gpu": gpu, "compiled": options.compile}
    made = [contests.layer(seconds)]
    if "preresnet110" in names:
        made.append(contests.slots("preresnet110", common))
        made.append(contests.bounds("preresnet110", options.precision, common))
    made.append(contests.devices(names[0], common, [] if gpu else own))
    made += [contests.baselines(name, common, own, **how) for name in names]
    if options.fixed_batch:
        made.append(contests.baselines(names[0], common, own, fixed=True, **how))
    return made


def _starts(dataset: str) -> list[Measurement]:
    """How long it takes until the first step, and how long until the data are on the device."""
    found = first_step.measure(dataset)
    made = []
    for name, most in (("cold", 20), ("warm", 5)):
        parts = found[name]
        value = parts["begun"]
        note = ", ".join(f"{part} {parts[part]:.1f}" for part in ("data", "compile", "first step"))
        what = f"from the command to the first step, depth 110, {name}: seconds"
        made.append(Measurement(what, f"at most {most}", value, reached=value <= most, note=note))
    value = found["warm"]["data"]
    what = f"second start: {dataset or 'noise'} on the device: seconds"
    return [*made, Measurement(what, "at most 2", value, reached=value <= 2)]


FLAGS = (
    Flag("workloads", ",".join(workload.WORKLOADS), "what is trained, separated by commas"),
    Flag("rounds", 5, "how many rounds each contestant takes part in"),
    Flag("seconds", 4.0, "how long a round lasts, about"),
    Flag("precision", "float32", "the precision of products", PRECISIONS),
    Flag("compile", False, "also measure PyTorch with torch.compile"),
    Flag("fixed_batch", False, "also measure without a data pipeline"),
    Flag("dataset", "", "the data of the first step (default: noise)"),
)


@tool(__doc__, FLAGS)
def main(options: SimpleNamespace) -> None:
    """Measures, prints and appends to the ledger.

    Raises:
      ValueError, OSError: what the user can put right.
    """
    for name in options.workloads.split(","):
        if name not in workload.WORKLOADS:
            known = ", ".join(workload.WORKLOADS)
            raise ValueError(f"workloads: unknown {name!r}, choose among {known}")
    if options.rounds < 1 or not options.seconds > 0:
        raise ValueError(
            f"rounds, seconds: must be above 0, got {options.rounds} and {options.seconds}"
        )
    answer = subprocess.run([sys.executable, "-c", _ASK], capture_output=True, text=True)
    if answer.returncode:
        raise OSError(f"jax finds no device: {answer.stderr.strip().splitlines()[-1]}")
    platform, kind = answer.stdout.split("\n")[:2]
    measurements: list[Measurement] = []
    results: dict[str, Mapping[str, Result]] = {}
    for contest in chosen(options, platform):
        print(
            f"{contest.name}: {', '.join(contestant.name for contestant in contest.contestants)}",
            flush=True,
        )
        found = results[contest.name] = run_interleaved(contest.contestants, options.rounds)
        measurements += contest.measurements(found)
    print("first step", flush=True)
    measurements += _starts(options.dataset)
    about: dict[str, Any] = {
        "finished_at": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "git_revision": provenance.git_revision("."),
        "versions": provenance.versions(),
        "platform": platform,
        "device_kind": kind,
        "processor": processor(),
        "cores": cores(),
        "precision": options.precision,
        "rounds": options.rounds,
        "seconds": options.seconds,
    }
    row = record(about, measurements, results)
    print(section([row]))
    LEDGERS.mkdir(parents=True, exist_ok=True)
    with open(LEDGERS / FILE, "a") as ledger:
        ledger.write(json.dumps(row) + "\n")
    print(f"\nledger    {LEDGERS / FILE}")


if __name__ == "__main__":
    sys.exit(main())
