import contextlib
import itertools
import json
import os
import resource
import shutil
import signal
import subprocess
from types import SimpleNamespace

import pytest
from PIL import Image

from benchmarks.harness import training
from benchmarks.harness.workfolder import WorkFolder
from flaxdrop.training import loop, stopping

CELLS = [("none", 0), ("p6", 0), ("none", 1), ("p6", 1)]


@pytest.fixture
def finished(folder, finished_once):
    """The work folder of a run that is finished, to do anything with."""
    shutil.copytree(finished_once, folder / "results")
    return folder / "results"


def test_dry_run_says_what_it_would_do_and_writes_nothing(command, folder):
    before = sorted(folder.rglob("*"))
    for arguments in ((), ("--workdir", "results")):
        outcome = command("--dry_run", *arguments)
        assert (outcome.status, outcome.err) == (0, "")
        said = dict(line.split(maxsplit=1) for line in outcome.out.splitlines())
        assert said["cells"] == "4: none, p6 x 2 seeds"
        assert said["devices"] == "2 x cpu"
        for words in (
            "digits",
            "60 of 900 ex",
            "50 to test",
            "10 classes",
            "8x8x1",
            "pixels 0..240",
        ):
            assert words in said["data"]
        assert said["compilations"].startswith("3 (")
        assert said["network"].startswith("398 parameters, ")
        assert "FLOPs an image" in said["network"]
        assert said["estimate"]
    assert said["results"] == "results"
    assert sorted(folder.rglob("*")) == before


def test_a_whole_run(finished, rows_in, cells_in):
    assert sorted(path.name for path in finished.iterdir()) == [
        "checkpoints",
        "curves.png",
        "ledger.jsonl",
        "lock",
        "positions.png",
        "repair.md",
        "settings.json",
        "table.md",
    ]
    assert cells_in(finished) == CELLS
    for row in rows_in(finished):
        assert row["study"] == "preresnet"
        assert row["placement"] == ("none" if row["variant"] == "none" else "p6=0.5")
        assert row["status"] == "finished"
        assert row["parameters"] == 398
        assert {len(curve) for curve in row["curve"].values()} == {2}
        assert row["best_accuracy"] == max(row["curve"]["test_accuracy"])
        assert row["last_accuracy"] == row["curve"]["test_accuracy"][-1]
        assert row["wall_seconds"] > 0
    table = (finished / "table.md").read_text()
    assert "| none |" in table
    assert "| p6 |" in table
    for name in ("positions", "curves"):
        with Image.open(finished / f"{name}.png") as picture:
            picture.verify()


def test_finished_cells_leave_one_checkpoint_each(finished):
    left = sorted(str(p.relative_to(finished / "checkpoints")) for p in finished.glob("*/*/*"))
    assert left == ["none-seed0/6", "none-seed1/6", "p6-seed0/6", "p6-seed1/6"]


def test_run_again_it_trains_nothing_and_shows_the_table(command, finished, monkeypatch):
    def compiled(*_):
        raise AssertionError("compiled")

    monkeypatch.setattr("benchmarks.harness.training.compile_programs", compiled)
    before = (finished / "ledger.jsonl").read_bytes()
    outcome = command("--workdir", "results")
    assert outcome.status == 0
    assert outcome.out.startswith(
        "data: digits: 60 of 900 examples to train, 50 to test, 10 classes"
    )
    assert "0 cells to train, 4 finished before" in outcome.out
    assert "variant  n " in outcome.out
    assert (finished / "ledger.jsonl").read_bytes() == before


def test_with_more_seeds_and_variants_it_trains_those(command, finished, cells_in):
    before = (finished / "ledger.jsonl").read_bytes()
    outcome = command("--workdir", "results", "--config.seeds=3", "--config.variants=none,p4,p6")
    assert outcome.status == 0
    assert "5 cells to train, 4 finished before" in outcome.out
    new = {("p4", 0), ("p4", 1), ("p4", 2), ("none", 2), ("p6", 2)}
    assert (finished / "ledger.jsonl").read_bytes().startswith(before)
    assert set(cells_in(finished)[4:]) == new
    assert len(cells_in(finished)) == 9
    assert "| p4 |" in (finished / "table.md").read_text()


def test_with_fewer_it_shows_those(command, finished, cells_in):
    outcome = command("--workdir", "results", "--config.seeds=1", "--config.variants=p6")
    assert outcome.status == 0
    assert "0 cells to train, 1 finished before" in outcome.out
    assert "| none |" not in (finished / "table.md").read_text()
    assert len(cells_in(finished)) == 4


def test_a_line_cut_off_in_the_middle_costs_that_cell(command, finished, digests_in):
    ledger, digests = finished / "ledger.jsonl", digests_in(finished)
    ledger.write_bytes(ledger.read_bytes()[:-500])
    shutil.rmtree(finished / "checkpoints" / "p6-seed1")
    outcome = command("--workdir", "results")
    assert outcome.status == 0
    assert outcome.err.startswith("warning: results/ledger.jsonl line 4: left out, not JSON")
    assert "1 cells to train, 3 finished before" in outcome.out
    lines = ledger.read_text().splitlines()
    assert [json.loads(line)["seed"] for line in (*lines[:3], lines[4])] == [0, 0, 1, 1]
    assert json.loads(lines[4])["digest"] == digests["p6", 1]


def test_where_only_the_line_is_lost_the_checkpoint_gives_it_back(command, finished, digests_in):
    ledger, digests = finished / "ledger.jsonl", digests_in(finished)
    ledger.write_text("".join(ledger.read_text().splitlines(keepends=True)[:-1]))
    assert command("--workdir", "results").status == 0
    assert digests_in(finished) == digests


def test_without_its_neighbours_a_cell_is_the_same(command, finished, folder, digests_in):
    outcome = command(
        "--workdir", "alone", "--config.variants=p6", "--config.devices=1", "--config.seeds=1"
    )
    assert outcome.status == 0
    assert digests_in(folder / "alone") == {("p6", 0): digests_in(finished)["p6", 0]}


def test_work_folder_of_another_config(command, finished):
    before = (finished / "ledger.jsonl").read_bytes()
    outcome = command("--workdir", "results", "--config.rate=0.25", "--config.epochs=3")
    assert outcome.status == 2
    assert outcome.err == (
        "error: workdir: results was made with other settings or data: epochs (2 there, 3 now),"
        " rate (0.5 there, 0.25 now); choose another --workdir\n"
    )
    assert (finished / "ledger.jsonl").read_bytes() == before


def test_a_time_budget_that_is_spent(command, folder, monkeypatch, cells_in, digests_in, finished):
    with monkeypatch.context() as patch:
        # It looks at the clock after each step, and the clock goes on by a second each time.
        patch.setattr(loop, "_DISPATCH_SECONDS", 1e-9)
        patch.setattr(stopping, "time", SimpleNamespace(monotonic=itertools.count().__next__))
        outcome = command("--workdir", "parts", "--config.time_budget=10s")
    assert outcome.status == 0
    assert outcome.out.splitlines()[-1] == (
        "the time budget is spent: 2 of 4 cells are finished, those in training are saved;"
        " run the same command to go on"
    )
    assert cells_in(folder / "parts") == CELLS[:2]
    assert "| p6 |" in (folder / "parts" / "table.md").read_text()

    outcome = command("--workdir", "parts")
    assert outcome.status == 0
    assert "2 cells to train, 2 finished before" in outcome.out
    assert "100%" in outcome.err  # of what was left
    assert digests_in(folder / "parts") == digests_in(finished)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_before_the_first_step(command, monkeypatch, number):
    compiled = training.compile_programs

    def compile_and_signal(*arguments):
        signal.raise_signal(number)
        return compiled(*arguments)

    monkeypatch.setattr(training, "compile_programs", compile_and_signal)
    outcome = command("--workdir", "results")
    assert outcome.status == 128 + number
    assert f"stopped by {number.name}: 0 of 4 cells are finished" in outcome.out


def test_a_second_interrupt_while_it_compiles_ends_it_at_once(shell):
    twice = """
import os, signal, time
from benchmarks.harness import training
def compile_without_end(*_):
    for _ in range(2):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.1)
    time.sleep(600)
training.compile_programs = compile_without_end
"""
    process = shell("--workdir", "w", before=twice)
    done = subprocess.run(**process, capture_output=True, timeout=300)
    assert done.returncode == 130
    assert "interrupted" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_second_run_in_the_folder_of_one_that_runs_is_refused(command, finished):
    settings = json.loads((finished / "settings.json").read_text())
    study = settings.pop("study")
    with WorkFolder(finished).claimed(study, settings):
        outcome = command("--workdir", "results")
    assert outcome.status == 2
    assert outcome.err == "error: workdir: another run is in results, wait for it\n"
    assert command("--workdir", "results").status == 0


def test_cells_that_diverge_are_recorded(command, folder, rows_in):
    arguments = ("--config.learning_rate=1e30", "--config.seeds=1", "--workdir", "results")
    outcome = command(*arguments)
    assert outcome.status == 0
    assert "none, seed 0: diverged" in outcome.out
    for row in rows_in(folder / "results"):
        assert row["status"] == "diverged"
        assert row["best_accuracy"] is row["best_epoch"] is row["last_accuracy"] is None
        assert {len(curve) for curve in row["curve"].values()} == {1}
    assert (folder / "results" / "table.md").exists()
    assert "0 cells to train, 2 finished before" in command(*arguments).out


@contextlib.contextmanager
def full_disk():
    """No file can grow above 200 kB."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_loses_no_finished_cell(command, finished, cells_in):
    before = (finished / "ledger.jsonl").read_bytes()
    arguments = ("--workdir", "results", "--config.seeds=3")
    with full_disk():
        outcome = command(*arguments)
    assert outcome.status == 2
    said = [line for line in outcome.err.splitlines() if not line.startswith("\r")]
    (error,) = [line for line in said if "error" in line]
    assert error.startswith("error: cannot write the checkpoint ")
    assert error.endswith(
        "File too large; the finished cells are in results/ledger.jsonl: put it right and run the"
        " same command to go on"
    )
    assert (finished / "ledger.jsonl").read_bytes() == before
    assert command(*arguments).status == 0
    assert len(cells_in(finished)) == 6


def test_a_finished_run_on_a_disk_that_is_read_only_is_shown(command, finished, monkeypatch):
    before = {path: path.stat().st_mtime_ns for path in finished.rglob("*")}
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: not mode & os.W_OK and access(path, mode))
    outcome = command("--workdir", "results")
    assert (outcome.status, outcome.err) == (0, "")
    assert "none" in outcome.out
    assert {path: path.stat().st_mtime_ns for path in finished.rglob("*")} == before
    assert command("--workdir", "results", "--config.seeds=3").status == 2
