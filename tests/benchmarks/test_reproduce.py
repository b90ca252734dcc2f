"""The next missing cells are trained, whoever else trains, whatever stops it."""

import contextlib
import dataclasses
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

import benchmarks.harness.training
from benchmarks import reproduce
from benchmarks.harness.published_data import PUBLISHED
from benchmarks.preresnet import STUDY, PreResNetSettings
from benchmarks.reproduction.jobs import FORMS, Job, all_jobs
from flaxdrop.data import load
from flaxdrop.training.stopping import Stop

from .conftest import ROOT, as_in_a_process_of_its_own, write_digits_as_cifar10


def settings_of(**fields):
    """A network with one block, on a few images of a file that is named like CIFAR-10."""
    right = {
        "dataset": "cifar10",
        "train_examples": 60,
        "test_examples": 50,
        "depth": 4,
        "widths": (4,),
        "rate": 0.5,
        "variants": "none,p6",
        "seeds": 2,
        "epochs": 2,
        "batch": 20,
        "devices": 1,
    }
    return PreResNetSettings(**{**right, **fields})


def jobs_of(epochs=2):
    """Two configs; the first is wanted in two jobs."""
    return [
        Job(STUDY, "configs/a.py", "tiny", settings_of(epochs=epochs)),
        Job(STUDY, "configs/b.py", "tiny", settings_of(epochs=epochs, rate=0.25, seeds=1)),
        Job(STUDY, "configs/a.py", "tiny", settings_of(epochs=epochs, variants="none,p4,p6")),
    ]


CELLS = [
    *((0.5, variant, seed) for seed in (0, 1) for variant in ("none", "p6")),
    *((0.25, variant, 0) for variant in ("none", "p6")),
    *((0.5, "p4", seed) for seed in (0, 1)),
]


@pytest.fixture
def data(tmp_path, monkeypatch):
    """A folder with a `cifar10.npz`, as if it were published; the user is beside it."""
    monkeypatch.chdir(tmp_path)
    write_digits_as_cifar10(tmp_path / "data")
    folder = str(tmp_path / "data")
    monkeypatch.setitem(PUBLISHED, "cifar10", load("cifar10", data_dir=folder).digest)
    return folder


LEDGER = pathlib.Path("ledger")


def run(jobs, data, stop=None):
    with as_in_a_process_of_its_own():
        return reproduce.reproduce(jobs, LEDGER, stop or Stop(), data)


def rows():
    return [json.loads(line) for line in (LEDGER / "preresnet.jsonl").read_text().splitlines()]


def cells():
    return [(row["config"]["rate"], row["variant"], row["seed"]) for row in rows()]


class StopAfter(Stop):
    """Has a reason to stop once so many rows are there."""

    def __init__(self, count):
        super().__init__()
        self.count = count

    @property
    def reason(self):
        there = (LEDGER / "preresnet.jsonl").exists() and len(rows()) >= self.count
        return "the time budget is spent" if there else None


def test_the_most_wanted_first_and_after_a_spent_budget_the_rest(data, capsys):
    jobs = jobs_of()
    assert run(jobs, data, StopAfter(3)) == 0
    said = capsys.readouterr().out.splitlines()[-1]
    assert said == (
        "the time budget is spent: 5 cells are missing, the next of a:tiny; run the same command"
        " to go on"
    )
    before = rows()
    assert cells() == CELLS[:3]
    assert run(jobs, data, Stop(0.0)) == 0
    assert rows() == before
    assert run(jobs, data) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "done: 0 cells are missing"
    assert rows()[:3] == before
    assert cells() == CELLS
    assert run(jobs, data) == 0
    assert cells() == CELLS


def test_a_signal_stops_it_for_the_next_time(data, monkeypatch, capsys):
    compiled = benchmarks.harness.training.compile_programs

    def compile_and_signal(*arguments):
        signal.raise_signal(signal.SIGTERM)
        return compiled(*arguments)

    monkeypatch.setattr("benchmarks.harness.training.compile_programs", compile_and_signal)
    stop = Stop()
    with stop.listening():
        assert run(jobs_of(), data, stop) == 128 + signal.SIGTERM
    said = capsys.readouterr().out.splitlines()[-1]
    assert said.startswith("stopped by SIGTERM: 8 cells are missing, the next of a:tiny; ")


def test_a_part_in_other_hands_is_passed_over(data):
    jobs = jobs_of()[:2]
    with contextlib.ExitStack() as other, as_in_a_process_of_its_own():
        assert reproduce._claim_next(jobs, LEDGER, data, {}, other, None)[1].settings.rate == 0.5
        assert run(jobs, data) == 0
        assert {rate for rate, *_ in cells()} == {0.25}
    assert run(jobs, data) == 0
    assert sorted(cells()) == sorted(CELLS[:6])


def test_a_dataset_that_cannot_be_had_is_passed_over(data, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    absent = Job(STUDY, "configs/c.py", "tiny", settings_of(dataset="cifar100"))
    assert run([absent, absent, *jobs_of()[:1]], data) == 0
    complaint = capsys.readouterr().err
    assert complaint.count("warning: passed over, dataset cifar100: ") == 1
    assert len(cells()) == 4
    assert run([absent], data) == 2


def test_a_file_that_is_not_the_published_images_is_passed_over(data, capsys, monkeypatch):
    monkeypatch.setitem(PUBLISHED, "cifar10", "f" * 32)
    assert run(jobs_of(), data) == 2
    complaint = capsys.readouterr().err
    assert complaint.count("warning: passed over, dataset cifar10: must be the published") == 1
    assert not (LEDGER / "preresnet.jsonl").exists()


def test_rows_of_other_data_or_numerics_do_not_count(rows_of_job):
    job = jobs_of()[0]
    right = rows_of_job(job, {"none": [0.5, 0.5], "p6": [0.5, 0.5]})
    assert job.missing(right) == []
    for change in ({"data": "e" * 32}, {"numerics": 0}, {"weights": "e" * 64}):
        others = [dataclasses.replace(row, **change) for row in right]
        assert job.missing(others) == job.cells


SCRIPT = """
import pathlib, sys
from benchmarks.harness.published_data import PUBLISHED
PUBLISHED["cifar10"] = {digest!r}
from tests.benchmarks.test_reproduce import Stop, jobs_of, reproduce
stop = Stop()
with stop.listening():
    sys.exit(reproduce.reproduce(jobs_of(epochs=20), pathlib.Path("ledger"), stop, {data!r}))
"""


@pytest.fixture
def start(data):
    """Starts it in a process of its own; it does not outlive the test."""
    started = []

    def process():
        script = SCRIPT.format(data=data, digest=PUBLISHED["cifar10"])
        started.append(
            subprocess.Popen(
                [sys.executable, "-c", script],
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
                text=True,
            )
        )
        return started[-1]

    yield process
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


@pytest.mark.slow
def test_two_at_once_and_one_of_them_killed_train_no_cell_twice_and_lose_no_row(start):
    first, second = start(), start()
    ledger = LEDGER / "preresnet.jsonl"
    give_up = time.monotonic() + 120
    while not ledger.exists() or len(ledger.read_text().splitlines()) < 2:
        assert first.poll() is None, first.communicate()[1]
        assert time.monotonic() < give_up
        time.sleep(0.01)
    os.killpg(first.pid, signal.SIGKILL)
    kept = ledger.read_bytes()
    kept = kept[: kept.rfind(b"\n") + 1]
    _, complaint = second.communicate()
    assert second.returncode == 0, complaint
    assert "Traceback" not in complaint
    assert ledger.read_bytes().startswith(kept)
    assert sorted(cells()) == sorted(CELLS)


def test_the_order_of_the_reproduction():
    forms = [job.form for job in all_jobs()]
    small = forms.count("small")
    # All small forms, then the quick and the full ones of the named jobs, then the others.
    assert forms == sorted(forms[: small + 14], key=FORMS.index) + forms[small + 14 :]
    names = [f"{job.name} {job.settings.variants}".strip() for job in all_jobs()]
    high = "cifar100:small, rate=0.3"
    assert names[:3] == [f"{high} none,p6", high, f"{high} none"]
    assert names[3].startswith("vgg_cifar10:small BN,conv 0.2,conv 0.5,")
    assert names[4] == "cifar10:small, rate=0.3 none,p6"
    baselines = {job.settings.seeds for job in all_jobs() if job.settings.variants == "none"}
    assert baselines == {6}
    assert min(job.settings.seeds for job in all_jobs()) == 3


def test_every_variant_that_a_claim_on_depth_names_is_wanted_early():
    early = next(job for job in all_jobs() if job.study.name == "vgg_depth")
    named = {name for claim in early.study.claims for pair in claim.contrasts for name in pair}
    assert named <= {variant for variant, _ in early.cells}


def test_its_command_is_that_of_a_study():
    job = next(job for job in all_jobs() if job.changes)
    assert job.command == (
        "python -m benchmarks.preresnet --config configs/cifar100.py:small --config.rate=0.3"
        " --config.seeds=3"
    )


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["--only", "mnist"], "error: only: must be CONFIG or CONFIG:form of cifar100, "),
        (["--time_budget", "soon"], "error: time_budget: must be like 90s, 8m or 2h, got 'soon'"),
        (["--seeds", "3"], "error: Unknown command line flag 'seeds'"),
    ],
)
def test_mistakes_are_said_in_one_line(arguments, error, capsys):
    assert reproduce.main(arguments) == 2
    said = capsys.readouterr()
    assert said.err.startswith(error)
    assert said.err.count("\n") == 1


def test_a_dry_run_says_what_is_missing_and_writes_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    before = sorted(pathlib.Path().rglob("*"))
    assert reproduce.main(["--dry_run", "--only", "vgg_cifar10"]) == 0
    title, header, *lines, total = capsys.readouterr().out.splitlines()
    assert title.startswith("missing")
    assert header.split()[:3] == ["cells", "time", "study"]
    words = [line.partition(":")[0].split() for line in lines]
    assert [(cells, *rest) for cells, _, _, *rest in words] == [
        (count, "vgg_depth", "vgg_cifar10") for count in ("36", "24", "60", "60")
    ]
    assert all(unit in ("seconds", "minutes", "hours") for _, _, unit, *_ in words)
    assert "roughly" in total
    assert sorted(pathlib.Path().rglob("*")) == before
