"""What is far too large is refused in a line that names its field, before it takes memory."""

import jax
import pytest

from benchmarks.harness.arguments import exit_status
from benchmarks.harness.plan import Plan
from flaxdrop import memory

TOO_LARGE = {
    "epochs": 2147483648,
    "batch": 10**9,
    "crop": 10**9,
    "depth": 6000002,
    "widths": (10**9,),
    "seeds": 10**12,
    "decide": 10**12,
    "image_size": 10**6,
    "cells_per_device": 10**6,
    "learning_rate": 1e300,
    "weight_decay": 10**400,
}


@pytest.mark.parametrize(("field", "value"), TOO_LARGE.items())
def test_a_field_that_is_too_large_is_refused_by_name(command, folder, field, value):
    said = command("--dry_run", f"--config.{field}={value}")
    assert said.status == 2
    assert said.err.startswith(f"error: {field}: must be ")
    assert said.err.count("\n") == 1
    assert [path.name for path in folder.iterdir()] == ["tiny.py"]


def test_an_early_jax_trains_one_cell_on_a_device(command, monkeypatch):
    monkeypatch.setattr(jax, "__version_info__", (0, 7, 2))
    said = command("--config.cells_per_device=2", "--dry_run")
    assert said.status == 2
    assert said.err.startswith("error: cells_per_device: must be 1 with jax ")
    assert said.err.count("\n") == 1


@pytest.mark.parametrize(("field", "value"), [("widths", "(4000,)"), ("image_size", "512")])
def test_what_does_not_fit_into_memory_is_refused(command, folder, monkeypatch, field, value):
    monkeypatch.setattr(memory, "host_bytes", lambda: 20_000_000)
    said = command(f"--config.{field}={value}", "--dry_run")
    assert said.status == 2
    assert "must be so that " in said.err
    assert "0.02 GB of memory" in said.err
    assert [path.name for path in folder.iterdir()] == ["tiny.py"]


def test_of_very_many_cells_only_those_that_train_are_made(command, monkeypatch):
    made = []
    cell = Plan.cell
    monkeypatch.setattr(Plan, "cell", lambda *args: made.append(args) or cell(*args))
    said = command("--config.seeds=20000", "--config.time_budget=1s")
    assert said.status == 0
    assert "of 40000 cells are finished" in said.out
    assert len(made) < 100


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (MemoryError("Unable to allocate 9 GiB"), "out of memory, lower batch"),
        (RuntimeError("RESOURCE_EXHAUSTED: Out of memory\nmore\nlines"), "out of memory, lower"),
        (RuntimeError("Unable to initialize backend 'x': y (set JAX_PLATFORMS='')"), "JAX_PLATFO"),
        (OverflowError("int too big"), "too large: int too big"),
        (RecursionError("maximum recursion depth"), "too large"),
    ],
)
def test_what_the_host_cannot_give_is_told_in_one_line(capsys, error, words):
    def fail():
        raise error

    assert exit_status(fail) == 2
    said = capsys.readouterr().err
    assert words in said
    assert said.count("\n") == 1


def test_a_platform_that_jax_knows_and_that_is_not_here_is_told(capsys, monkeypatch):
    monkeypatch.setenv("JAX_PLATFORMS", "cuda")
    jax_itself = compile("assert False", "/somewhere/jax/_src/xla_bridge.py", "exec")
    assert exit_status(lambda: exec(jax_itself)) == 2
    assert capsys.readouterr().err == (
        "error: JAX_PLATFORMS: must be a platform that is here, got 'cuda'\n"
    )


def test_a_fault_of_the_program_keeps_its_traceback():
    def fail():
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        exit_status(fail)
