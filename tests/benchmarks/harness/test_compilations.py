import collections
import contextlib
import logging

import jax
import pytest

import flaxdrop.data
from benchmarks import preresnet, schedules
from benchmarks.harness.variants import families
from flaxdrop.training import steps
from flaxdrop.training.cells import compile_programs, to_images
from flaxdrop.training.checkpoint import Checkpoints
from flaxdrop.training.content import Content
from flaxdrop.training.loop import train_cells
from flaxdrop.training.steps import Task
from flaxdrop.training.stopping import Stop


@pytest.fixture
def traces(monkeypatch):
    """How often jax traced each of the functions that are compiled."""
    counted = collections.Counter()

    def count(name):
        function = getattr(steps, name)

        def counting(*arguments):
            counted[name] += 1
            return function(*arguments)

        monkeypatch.setattr(steps, name, counting)

    for name in ("initial_state", "train_steps", "train_step", "eval_step"):
        count(name)
    return counted


@contextlib.contextmanager
def logged_compilations():
    """`jax.log_compiles`, of all threads."""
    jax.config.update("jax_log_compiles", True)
    try:
        yield
    finally:
        jax.config.update("jax_log_compiles", False)


def compiled_in(caplog, name):
    return [
        message
        for message in caplog.messages
        if message.startswith("Finished XLA compilation") and name in message
    ]


@pytest.mark.parametrize(("study", "variants"), [(preresnet.STUDY, 9), (schedules.STUDY, 7)])
def test_one_compilation_serves_all_variants_schedules_and_seeds(
    study, variants, traces, tmp_path, caplog
):
    settings = study.settings(dataset="digits", epochs=2, batch=20, depth=4, widths=(4,))
    dataset = flaxdrop.data.load("digits").first(40, 20)
    (family,) = families(study.variants(settings, dataset.num_classes))
    task = Task(family.model, settings, len(dataset.x_train))
    cells = {
        f"{variant}-seed{seed}": family.cell(variant, seed)
        for seed in range(2)
        for variant in family.placements
    }
    assert len(cells) == 2 * variants

    images = to_images(dataset, (), ())
    with logged_compilations(), caplog.at_level(logging.WARNING):
        programs = compile_programs(task, images, cells["none-seed0"], jax.devices("cpu")[:2])
        training = train_cells(
            task,
            programs,
            cells,
            Checkpoints(tmp_path, Content("0123456789ab", 1, "d" * 32, "")),
            stop=Stop(),
            checkpoint_seconds=3600.0,
            advance=lambda _: None,
        )
        next(training)
    assert len(compiled_in(caplog, "of_all")) == 3  # start, train, evaluate
    caplog.clear()
    with logged_compilations(), caplog.at_level(logging.WARNING):
        assert len(list(training)) == len(cells) - 1
    assert not compiled_in(caplog, "")
    assert set(traces.values()) == {1}
    assert len(traces) == 4
