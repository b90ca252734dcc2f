import dataclasses
import itertools
import logging
from types import SimpleNamespace

import numpy as np
import pytest

from flaxdrop.training import loop, stopping
from flaxdrop.training.checkpoint import Checkpoints
from flaxdrop.training.content import Content
from flaxdrop.training.loop import TrainingStopped, train_cells
from flaxdrop.training.stopping import Stop

pytestmark = pytest.mark.optimised

STEPS = 12  # three epochs of four


def checkpoints(folder):
    return Checkpoints(folder, Content("0123456789ab", 1, "d" * 32, ""))


class StopAfter(Stop):
    """Asks to stop after a number of steps, where the loop goes step by step."""

    def __init__(self, steps):
        super().__init__()
        self.left = steps

    @property
    def reason(self):
        return None if self.left else "enough"


@pytest.fixture
def train(task, programs_of, tmp_path):
    """Trains named cells in a folder; returns what is finished and the images that were counted."""

    def run(
        cells,
        *,
        task=task,
        cells_in_parallel=2,
        stop=None,
        checkpoint_seconds=3600.0,
        folder=tmp_path,
    ):
        counted, stop = [], stop or Stop()

        def advance(images):
            counted.append(images)
            if isinstance(stop, StopAfter):
                stop.left -= 1

        finished = train_cells(
            task,
            programs_of(task, cells_in_parallel),
            cells,
            checkpoints(folder),
            stop=stop,
            checkpoint_seconds=checkpoint_seconds,
            advance=advance,
        )
        return {cell.name: cell for cell in finished}, sum(counted)

    return run


@pytest.fixture
def step_by_step(monkeypatch):
    """After each step the loop looks at the clock and at signals."""
    monkeypatch.setattr(loop, "_DISPATCH_SECONDS", 1e-9)


@pytest.fixture
def two(make_cell):
    return {"none-seed0": make_cell(), "p6-seed1": make_cell(rate=0.5, seed=1)}


def bits(finished, bits_of):
    return {name: bits_of(cell.state) for name, cell in finished.items()}


def saved_steps(folder):
    return {path.name: checkpoints(folder).steps(path.name) for path in folder.iterdir()}


def test_cells_train_to_their_end_and_their_last_state_is_saved(
    train, two, tmp_path, task, programs_of, bits_of
):
    finished, images = train(two)
    assert list(finished) == list(two)
    assert images == 2 * STEPS * 16
    assert saved_steps(tmp_path) == {"none-seed0": [STEPS], "p6-seed1": [STEPS]}
    for name, cell in finished.items():
        assert cell.state.step == STEPS
        assert np.isfinite(cell.state.curve).all()
        assert cell.seconds > 0
        state, seconds = checkpoints(tmp_path).load(name, programs_of(task, 2).like)
        assert (bits_of(state), seconds) == (bits_of(cell.state), cell.seconds)


def test_more_cells_than_devices_and_a_device_to_spare(train, two, make_cell, tmp_path, bits_of):
    three = {**two, "p6-seed2": make_cell(rate=0.5, seed=2)}
    together, images = train(three, folder=tmp_path / "together")
    assert images == 3 * STEPS * 16
    alone = {}
    for name, cell in three.items():
        alone |= train({name: cell}, cells_in_parallel=1, folder=tmp_path / "alone")[0]
    assert bits(together, bits_of) == bits(alone, bits_of)


@pytest.mark.parametrize("steps", range(1, STEPS))
@pytest.mark.usefixtures("step_by_step")
def test_resumed_at_any_step_it_is_the_same_to_the_bit(train, two, tmp_path, bits_of, steps):
    with pytest.raises(TrainingStopped, match="enough"):
        train(two, stop=StopAfter(steps))
    assert saved_steps(tmp_path) == {"none-seed0": [steps], "p6-seed1": [steps]}
    resumed, _ = train(two)
    whole, _ = train(two, folder=tmp_path / "whole")
    assert bits(resumed, bits_of) == bits(whole, bits_of)


@pytest.mark.usefixtures("step_by_step")
def test_stopped_and_resumed_again_and_again(train, two, tmp_path, bits_of):
    stops = 0
    while stops < 100:
        try:
            resumed, _ = train(two, stop=StopAfter(2))
            break
        except TrainingStopped:
            stops += 1
    assert stops == STEPS // 2 - 1
    whole, _ = train(two, folder=tmp_path / "whole")
    assert bits(resumed, bits_of) == bits(whole, bits_of)


@pytest.mark.usefixtures("step_by_step")
def test_cells_saved_at_different_steps(train, two, tmp_path, bits_of):
    names = list(two)
    for name, steps in zip(names, (3, 7), strict=True):
        with pytest.raises(TrainingStopped):
            train({name: two[name]}, stop=StopAfter(steps))
    resumed, _ = train(two)
    assert list(resumed) == names[::-1]  # the one that is further first
    whole, _ = train(two, folder=tmp_path / "whole")
    assert bits(resumed, bits_of) == bits(whole, bits_of)


def test_a_cell_that_was_saved_at_its_end_is_not_trained_again(train, two, bits_of):
    first, _ = train(two)
    again, images = train(two)
    assert images == 0
    assert bits(again, bits_of) == bits(first, bits_of)
    assert [cell.seconds for cell in again.values()] == [cell.seconds for cell in first.values()]


@pytest.mark.usefixtures("step_by_step")
def test_a_damaged_checkpoint_costs_time_and_nothing_else(train, two, tmp_path, bits_of, caplog):
    with pytest.raises(TrainingStopped):
        train(two, stop=StopAfter(9), checkpoint_seconds=1e-9)
    assert saved_steps(tmp_path) == {"none-seed0": [8, 9], "p6-seed1": [8, 9]}
    for file in (tmp_path / "p6-seed1" / "9").iterdir():
        if file.is_file():
            file.write_bytes(b"")
    with caplog.at_level(logging.WARNING):
        resumed, _ = train(two)
    assert "p6-seed1/9 is damaged and passed over" in caplog.text
    whole, _ = train(two, folder=tmp_path / "whole")
    assert bits(resumed, bits_of) == bits(whole, bits_of)


@pytest.mark.usefixtures("step_by_step")
def test_time_between_checkpoints(train, two, tmp_path, monkeypatch):
    saves = []
    save = Checkpoints.save
    monkeypatch.setattr(
        Checkpoints, "save", lambda self, states: (saves.append(None), save(self, states))
    )
    train(two, checkpoint_seconds=3600.0, folder=tmp_path / "seldom")
    assert len(saves) == 1
    train(two, checkpoint_seconds=1e-9, folder=tmp_path / "often")
    assert len(saves) == 1 + STEPS


@pytest.mark.usefixtures("step_by_step")
def test_time_budget(train, two, tmp_path, monkeypatch):
    with pytest.raises(TrainingStopped, match="the time budget is spent"):
        train(two, stop=Stop(budget=0))
    assert not list(tmp_path.iterdir())  # nothing was begun
    # A clock that goes on by a second whenever somebody looks.
    monkeypatch.setattr(stopping, "time", SimpleNamespace(monotonic=itertools.count().__next__))
    with pytest.raises(TrainingStopped, match="the time budget is spent"):
        train(two, stop=Stop(budget=7))
    assert saved_steps(tmp_path) == {"none-seed0": [6], "p6-seed1": [6]}


@pytest.fixture
def lost(make_cell):
    """A cell whose loss is not a number."""
    return make_cell(lost=1.0)


def epochs_of(cell):
    """The epochs that the curve tells of, and how many of them are finite."""
    curve = cell.state.curve
    return cell.state.step // 4, int(np.isfinite(curve).all(axis=1).sum())


@pytest.mark.usefixtures("step_by_step")
def test_a_cell_that_diverges_ends_and_the_others_go_on(train, two, lost, tmp_path, bits_of):
    finished, images = train({"lost": lost, **two})
    assert images == 3 * STEPS * 16  # of which 8 steps were given up
    assert epochs_of(finished["lost"]) == (1, 0)
    assert [epochs_of(finished[name]) for name in two] == [(3, 3)] * 2
    alone, _ = train({"lost": lost}, folder=tmp_path / "alone")
    whole, _ = train(two, folder=tmp_path / "whole")
    assert bits(finished, bits_of) == bits(alone | whole, bits_of)


@pytest.mark.parametrize("steps", [2, 4, 6])
@pytest.mark.usefixtures("step_by_step")
def test_a_diverged_cell_is_not_taken_further_when_it_is_resumed(
    train, two, lost, tmp_path, bits_of, steps
):
    cells = {"lost": lost, "none-seed0": two["none-seed0"]}
    with pytest.raises(TrainingStopped):
        train(cells, stop=StopAfter(steps))
    assert saved_steps(tmp_path) == {"lost": [min(steps, 4)], "none-seed0": [steps]}
    resumed, _ = train(cells)
    whole, _ = train(cells, folder=tmp_path / "whole")
    assert bits(resumed, bits_of) == bits(whole, bits_of)


def test_a_learning_rate_that_no_network_survives(train, two, task):
    recipe = dataclasses.replace(task.recipe, learning_rate=1e30)
    finished, images = train(two, task=dataclasses.replace(task, recipe=recipe))
    assert [epochs_of(cell) for cell in finished.values()] == [(1, 0)] * 2
    assert images == 2 * STEPS * 16
