import resource
import shutil
from contextlib import contextmanager

import jax
import numpy as np
import pytest

from flaxdrop.training import checkpoint


@pytest.fixture(scope="module")
def state(task, images, make_cell, programs_of):
    """After the first epoch: whole numbers, NaNs and a key-less tree of floats."""
    programs = programs_of(task, 1)
    cells = programs.place([make_cell(rate=0.5)])
    states = programs.evaluate(programs.train(4, cells, programs.start(cells)))
    return jax.tree.map(lambda leaf: np.asarray(leaf[0]), states)


@pytest.fixture
def like(task, programs_of):
    return programs_of(task, 1).like


@pytest.fixture
def two_saved(tmp_path, state):
    for step, seconds in ((4, 1.5), (8, 2.5)):
        checkpoint.save(tmp_path, {"p6-seed0": (at(state, step), seconds)})
    return tmp_path


def at(state, step):
    return state.replace(step=np.int32(step))


def files_of(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file())


def test_what_is_saved_comes_back_to_the_bit(tmp_path, state, like, bits_of):
    checkpoint.save(tmp_path, {"p6-seed0": (state, 1.25), "none-seed0": (at(state, 7), 0.1)})
    found, seconds = checkpoint.load(tmp_path, "p6-seed0", like)
    assert bits_of(found) == bits_of(state)
    assert seconds == 1.25
    assert jax.tree.structure(found) == jax.tree.structure(state)
    assert checkpoint.load(tmp_path, "none-seed0", like)[0].step == 7


def test_nothing_saved(tmp_path, like):
    assert checkpoint.load(tmp_path, "p6-seed0", like) is None
    assert checkpoint.steps_saved(tmp_path, "p6-seed0") == []
    assert not list(tmp_path.iterdir())


def test_the_two_newest_are_kept_and_of_a_finished_cell_one(tmp_path, state):
    for step in (4, 8, 12):  # of which 12 sorts before 4 as text
        checkpoint.save(tmp_path, {"p6-seed0": (at(state, step), 0.0)})
    assert checkpoint.steps_saved(tmp_path, "p6-seed0") == [8, 12]
    checkpoint.forget(tmp_path, "p6-seed0")
    assert checkpoint.steps_saved(tmp_path, "p6-seed0") == [12]


def test_saving_a_step_again_replaces_it(two_saved, state, like):
    checkpoint.save(two_saved, {"p6-seed0": (at(state, 8), 9.0)})
    assert checkpoint.steps_saved(two_saved, "p6-seed0") == [4, 8]
    assert checkpoint.load(two_saved, "p6-seed0", like)[1] == 9.0


def cut_off(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def scramble(path):
    path.write_bytes(bytes(byte ^ 0x55 for byte in path.read_bytes()))


@pytest.mark.parametrize("damage", [cut_off, scramble, lambda path: path.unlink()])
def test_a_damaged_file_is_noticed_or_harmless(two_saved, state, like, bits_of, damage, caplog):
    newest = two_saved / "p6-seed0" / "8"
    whole = two_saved / "whole"
    shutil.copytree(newest, whole)
    fell_back = 0
    for file in files_of(whole):
        damage(newest / file.relative_to(whole))
        caplog.clear()
        found, _ = checkpoint.load(two_saved, "p6-seed0", like)
        assert bits_of(found) in (bits_of(at(state, 4)), bits_of(at(state, 8)))
        if found.step == 4:
            fell_back += 1
            assert "8 is damaged and passed over" in caplog.text
            assert len([record for record in caplog.records if record.levelname == "WARNING"]) == 1
        shutil.rmtree(newest)
        shutil.copytree(whole, newest)
    assert fell_back >= 2


def test_an_empty_folder_is_not_a_checkpoint(two_saved, like):
    (two_saved / "p6-seed0" / "12").mkdir()
    assert checkpoint.load(two_saved, "p6-seed0", like)[0].step == 8


def test_where_all_are_damaged_there_is_none(two_saved, like, caplog):
    for file in files_of(two_saved):
        cut_off(file)
    assert checkpoint.load(two_saved, "p6-seed0", like) is None
    assert caplog.text.count("is damaged and passed over") == 2


def test_one_of_another_network_is_passed_over(two_saved, state, like):
    other = jax.eval_shape(lambda: like.replace(params={"kernel": np.zeros(3, np.float32)}))
    assert checkpoint.load(two_saved, "p6-seed0", other) is None
    assert checkpoint.load(two_saved, "p6-seed0", like)[0].step == 8


def test_half_written_ones_are_ignored_and_cleared_away(two_saved, state, like):
    cell = two_saved / "p6-seed0"
    half_written = cell / "12.orbax-checkpoint-tmp"
    shutil.copytree(cell / "8", half_written)
    assert checkpoint.steps_saved(two_saved, "p6-seed0") == [4, 8]
    assert checkpoint.load(two_saved, "p6-seed0", like)[0].step == 8
    checkpoint.save(two_saved, {"p6-seed0": (at(state, 12), 0.0)})
    assert sorted(path.name for path in cell.iterdir()) == ["12", "8"]


@contextmanager
def files_no_larger_than(size):
    """What a full disk looks like to a process: a write that does not succeed."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("size", [0, 1000])
def test_a_full_disk_is_told_in_one_line_and_loses_nothing(two_saved, state, like, bits_of, size):
    with pytest.raises(OSError, match=r"^cannot write the checkpoint .*/p6-seed0/12: ") as caught:
        with files_no_larger_than(size):
            checkpoint.save(two_saved, {"p6-seed0": (at(state, 12), 0.0)})
    assert "\n" not in str(caught.value)
    assert checkpoint.steps_saved(two_saved, "p6-seed0") == [4, 8]
    assert bits_of(checkpoint.load(two_saved, "p6-seed0", like)[0]) == bits_of(at(state, 8))
    checkpoint.save(two_saved, {"p6-seed0": (at(state, 12), 0.0)})
    assert checkpoint.load(two_saved, "p6-seed0", like)[0].step == 12


def test_a_folder_that_cannot_be_is_told_in_one_line(tmp_path, state):
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(OSError, match="cannot write the checkpoint") as caught:
        checkpoint.save(file, {"p6-seed0": (state, 0.0)})
    assert "\n" not in str(caught.value)
