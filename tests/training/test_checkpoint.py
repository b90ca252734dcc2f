import resource
import shutil
import tempfile
from contextlib import contextmanager

import jax
import numpy as np
import pytest

from flaxdrop.training import checkpoint
from flaxdrop.training.checkpoint import Checkpoints
from flaxdrop.training.content import Content

pytestmark = pytest.mark.optimised

CONTENT = Content("0123456789ab", 1, "d" * 32, "")


def checkpoints(folder, **fields):
    return Checkpoints(folder, CONTENT._replace(**fields))


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
        checkpoints(tmp_path).save({"p6-seed0": (at(state, step), seconds)})
    return tmp_path


def at(state, step):
    return state.replace(step=np.int32(step))


def files_of(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file())


def test_what_is_saved_comes_back_to_the_bit(tmp_path, state, like, bits_of):
    checkpoints(tmp_path).save({"p6-seed0": (state, 1.25), "none-seed0": (at(state, 7), 0.1)})
    found, seconds = checkpoints(tmp_path).load("p6-seed0", like)
    assert bits_of(found) == bits_of(state)
    assert seconds == 1.25
    assert jax.tree.structure(found) == jax.tree.structure(state)
    assert checkpoints(tmp_path).load("none-seed0", like)[0].step == 7


@pytest.mark.parametrize("name", ["exp [v2]", "a*b?c", "back\\slash", "{x,y}", "é %41 #", "-p"])
def test_a_folder_of_any_name_is_read_again(tmp_path, state, like, bits_of, name):
    checkpoints(tmp_path / name).save({"p6-seed0": (state, 1.25)})
    assert bits_of(checkpoints(tmp_path / name).load("p6-seed0", like)[0]) == bits_of(state)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_so_may_the_folder_of_temporary_files_be_called(
    tmp_path, state, like, bits_of, monkeypatch
):
    odd = tmp_path / "a [1]*"
    odd.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(odd))
    checkpoints(tmp_path / "exp [v2]").save({"p6-seed0": (state, 1.25)})
    found, _ = checkpoints(tmp_path / "exp [v2]").load("p6-seed0", like)
    assert bits_of(found) == bits_of(state)
    assert not list(odd.iterdir())


def test_what_cannot_be_read_again_is_no_checkpoint(tmp_path, state, monkeypatch):
    checkpoints(tmp_path).save({"p6-seed0": (at(state, 4), 1.5)})
    monkeypatch.setattr(checkpoint, "_MANIFEST", "not there")
    with pytest.raises(OSError, match=r"cannot write the checkpoint .*8: .*not there"):
        checkpoints(tmp_path).save({"p6-seed0": (at(state, 8), 2.5)})
    assert checkpoints(tmp_path).steps("p6-seed0") == [4]


def test_nothing_saved(tmp_path, like):
    assert checkpoints(tmp_path).load("p6-seed0", like) is None
    assert checkpoints(tmp_path).steps("p6-seed0") == []
    assert not list(tmp_path.iterdir())


def test_the_two_newest_are_kept_and_of_a_finished_cell_one(tmp_path, state):
    for step in (4, 8, 12):  # of which 12 sorts before 4 as text
        checkpoints(tmp_path).save({"p6-seed0": (at(state, step), 0.0)})
    assert checkpoints(tmp_path).steps("p6-seed0") == [8, 12]
    assert checkpoints(tmp_path).last_step("p6-seed0") == 12
    assert checkpoints(tmp_path).last_step("none-seed0") == 0
    checkpoints(tmp_path).forget("p6-seed0", 12)
    assert checkpoints(tmp_path).steps("p6-seed0") == [12]


def test_saving_a_step_again_replaces_it(two_saved, state, like):
    checkpoints(two_saved).save({"p6-seed0": (at(state, 8), 9.0)})
    assert checkpoints(two_saved).steps("p6-seed0") == [4, 8]
    assert checkpoints(two_saved).load("p6-seed0", like)[1] == 9.0


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
        found, seconds = checkpoints(two_saved).load("p6-seed0", like)
        assert bits_of(found) == bits_of(at(state, 4))
        assert seconds == 1.5
        assert caplog.messages == [f"checkpoint {newest} is damaged and passed over"]
        shutil.rmtree(newest)
        shutil.copytree(whole, newest)
    assert checkpoints(two_saved).load("p6-seed0", like)[1] == 2.5
    assert capfd.readouterr().err == ""


def test_an_empty_folder_is_not_a_checkpoint(two_saved, like):
    (two_saved / "p6-seed0" / "12").mkdir()
    assert checkpoints(two_saved).load("p6-seed0", like)[0].step == 8


def test_where_all_are_damaged_there_is_none(two_saved, like, caplog):
    for file in files_of(two_saved):
        cut_off(file)
    assert checkpoints(two_saved).load("p6-seed0", like) is None
    assert [message.endswith("is damaged and passed over") for message in caplog.messages] == [
        True,
        True,
    ]


def test_one_of_another_network_is_passed_over(two_saved, like, caplog):
    other = like.replace(params={"kernel": jax.ShapeDtypeStruct((3,), np.float32)})
    assert checkpoints(two_saved).load("p6-seed0", other) is None
    assert "cannot be read and is passed over" in caplog.text
    assert "\n" not in caplog.messages[0]
    assert checkpoints(two_saved).load("p6-seed0", like)[0].step == 8


def test_one_that_was_not_sealed_in_time_is_passed_over(two_saved, like):
    (two_saved / "p6-seed0" / "8" / "seal").unlink()
    assert checkpoints(two_saved).load("p6-seed0", like)[0].step == 4


def test_damaged_later_ones_do_not_drive_out_the_new_one(tmp_path, state, like):
    for step in (4, 8, 12):
        (tmp_path / "p6-seed0" / str(step)).mkdir(parents=True)
    checkpoints(tmp_path).save({"p6-seed0": (at(state, 5), 0.0)})
    assert checkpoints(tmp_path).load("p6-seed0", like)[0].step == 5


def test_what_was_passed_over_is_not_deleted(two_saved, state, like):
    cell = two_saved / "p6-seed0"
    cut_off(cell / "8" / "_METADATA")
    left = {file.relative_to(cell / "8"): file.read_bytes() for file in files_of(cell / "8")}
    checkpoints(two_saved).save({"p6-seed0": (at(state, 6), 0.0)})
    checkpoints(two_saved).forget("p6-seed0", 6)
    assert checkpoints(two_saved).steps("p6-seed0") == [6, 8]
    checkpoints(two_saved).save({"p6-seed0": (at(state, 8), 3.5)})  # in its place
    assert checkpoints(two_saved).load("p6-seed0", like)[1] == 3.5
    aside = cell / "8.passed-over-1"
    assert {file.relative_to(aside): file.read_bytes() for file in files_of(aside)} == left


@pytest.mark.parametrize("name", [".DS_Store", "d/Thumbs.db", "notes.txt"])
def test_files_of_others_do_not_matter(two_saved, like, name):
    for step in ("4", "8"):
        (two_saved / "p6-seed0" / step / name).write_bytes(b"not ours")
    (two_saved / "p6-seed0" / ".DS_Store").touch()
    assert checkpoints(two_saved).load("p6-seed0", like)[0].step == 8


@pytest.mark.parametrize(
    ("field", "value"),
    [("config_hash", "ba9876543210"), ("numerics", 2), ("data", "e" * 32), ("weights", "f" * 64)],
)
def test_one_of_another_content_is_passed_over(two_saved, like, caplog, field, value):
    assert checkpoints(two_saved, **{field: value}).load("p6-seed0", like) is None
    assert all(
        message.endswith(f"is of another {field} and passed over") for message in caplog.messages
    )
    assert len(caplog.messages) == 2
    assert checkpoints(two_saved).load("p6-seed0", like)[0].step == 8


def test_one_of_another_cell_is_passed_over(two_saved, like, caplog):
    shutil.copytree(two_saved / "p6-seed0", two_saved / "none-seed0")
    assert checkpoints(two_saved).load("none-seed0", like) is None
    assert "is of another cell and passed over" in caplog.text


def test_one_of_another_jax_says_so_and_is_read(two_saved, state, like, caplog, monkeypatch):
    checkpoints(two_saved).load("p6-seed0", like)
    assert not caplog.messages
    monkeypatch.setattr(jax, "__version__", "0.0.1")
    checkpoints(two_saved).save({"p6-seed0": (at(state, 12), 3.5)})
    monkeypatch.undo()
    assert checkpoints(two_saved).load("p6-seed0", like)[1] == 3.5
    [said] = caplog.messages
    assert "is of jax 0.0.1 and goes on with jax " in said


def test_one_of_an_earlier_flaxdrop_is_passed_over_in_a_line(two_saved, like, caplog):
    for step in ("4", "8"):
        (two_saved / "p6-seed0" / step / "seal").rename(two_saved / "p6-seed0" / step / "sha256")
    assert checkpoints(two_saved).load("p6-seed0", like) is None
    assert [m.endswith("is of an earlier flaxdrop and passed over") for m in caplog.messages] == [
        True,
        True,
    ]


def test_half_written_ones_are_ignored_and_cleared_away(two_saved, state, like):
    cell = two_saved / "p6-seed0"
    for name in ("12.half-written", "12.half-written.orbax-checkpoint-tmp"):
        shutil.copytree(cell / "8", cell / name)
    assert checkpoints(two_saved).steps("p6-seed0") == [4, 8]
    assert checkpoints(two_saved).load("p6-seed0", like)[0].step == 8
    checkpoints(two_saved).save({"p6-seed0": (at(state, 12), 0.0)})
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


@pytest.mark.parametrize(
    ("size", "late"), [(0, False), (100_000, False), (0, True), (1_000, True), (2_000, True)]
)
def test_a_full_disk_is_told_in_one_line_and_loses_nothing(
    two_saved, state, like, bits_of, size, late, capfd, monkeypatch
):
    if late:  # it fills up after there was room
        monkeypatch.setattr(checkpoint, "_make_room", lambda *_: None)
    refused = pytest.raises(OSError, match=r"^cannot write the checkpoint .*/p6-seed0/12: ")
    with refused as caught, files_no_larger_than(size):
        checkpoints(two_saved).save({"p6-seed0": (at(state, 12), 0.0)})
    assert "\n" not in str(caught.value)
    assert capfd.readouterr().err == ""
    monkeypatch.undo()
    assert checkpoints(two_saved).steps("p6-seed0") == [4, 8]
    assert bits_of(checkpoints(two_saved).load("p6-seed0", like)[0]) == bits_of(at(state, 8))
    checkpoints(two_saved).save({"p6-seed0": (at(state, 12), 0.0)})
    assert checkpoints(two_saved).load("p6-seed0", like)[0].step == 12


def test_a_folder_that_cannot_be_is_told_in_one_line(tmp_path, state):
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(OSError, match="cannot write the checkpoint") as caught:
        checkpoints(file).save({"p6-seed0": (state, 0.0)})
    assert "\n" not in str(caught.value)
