import resource
import shutil
from contextlib import contextmanager

import jax
import numpy as np
import pytest

from flaxdrop.training import checkpoint


@pytest.fixture(scope="module")
def state(task, make_cell, programs_of):
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


def flip_a_bit(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def remove(path):
    path.unlink()


@pytest.mark.parametrize("damage", [cut_off, flip_a_bit, remove])
def test_any_damage_to_any_file_is_noticed(two_saved, state, like, bits_of, damage, caplog, capfd):
    newest, whole = two_saved / "p6-seed0" / "8", two_saved / "whole"
    shutil.copytree(newest, whole)
    for file in files_of(whole):
        damage(newest / file.relative_to(whole))
        caplog.clear()
        found, seconds = checkpoint.load(two_saved, "p6-seed0", like)
        assert bits_of(found) == bits_of(at(state, 4))
        assert seconds == 1.5
        assert caplog.messages == [f"checkpoint {newest} is damaged and passed over"]
        shutil.rmtree(newest)
        shutil.copytree(whole, newest)
    assert checkpoint.load(two_saved, "p6-seed0", like)[1] == 2.5
    assert capfd.readouterr().err == ""


def test_an_empty_folder_is_not_a_checkpoint(two_saved, like):
    (two_saved / "p6-seed0" / "12").mkdir()
    assert checkpoint.load(two_saved, "p6-seed0", like)[0].step == 8


def test_where_all_are_damaged_there_is_none(two_saved, like, caplog):
    for file in files_of(two_saved):
        cut_off(file)
    assert checkpoint.load(two_saved, "p6-seed0", like) is None
    assert [message.endswith("is damaged and passed over") for message in caplog.messages] == [
        True,
        True,
    ]


def test_one_of_another_network_is_passed_over(two_saved, like, caplog):
    other = like.replace(params={"kernel": jax.ShapeDtypeStruct((3,), np.float32)})
    assert checkpoint.load(two_saved, "p6-seed0", other) is None
    assert "cannot be read and is passed over" in caplog.text
    assert "\n" not in caplog.messages[0]
    assert checkpoint.load(two_saved, "p6-seed0", like)[0].step == 8


def test_one_that_was_not_sealed_in_time_is_passed_over(two_saved, like):
    (two_saved / "p6-seed0" / "8" / "sha256").unlink()
    assert checkpoint.load(two_saved, "p6-seed0", like)[0].step == 4


def test_damaged_later_ones_do_not_drive_out_the_new_one(tmp_path, state, like):
    for step in (4, 8, 12):
        (tmp_path / "p6-seed0" / str(step)).mkdir(parents=True)
    checkpoint.save(tmp_path, {"p6-seed0": (at(state, 5), 0.0)})
    assert checkpoint.steps_saved(tmp_path, "p6-seed0") == [4, 5]
    assert checkpoint.load(tmp_path, "p6-seed0", like)[0].step == 5


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


@pytest.mark.parametrize("size", [0, 100_000])
def test_a_full_disk_is_told_in_one_line_and_loses_nothing(
    two_saved, state, like, bits_of, size, capfd
):
    refused = pytest.raises(OSError, match=r"^cannot write the checkpoint .*/p6-seed0/12: ")
    with refused as caught, files_no_larger_than(size):
        checkpoint.save(two_saved, {"p6-seed0": (at(state, 12), 0.0)})
    assert "\n" not in str(caught.value)
    assert capfd.readouterr().err == ""
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
