import errno
import fcntl
import json
import os
import pathlib
import threading

import pytest

from benchmarks.harness.workfolder import WorkFolder, default_folder

IDENTITY = {
    "dataset": "digits",
    "depth": 8,
    "rate": 0.1,
    "widths": [4, 8],
    "numerics": 1,
    "data_digest": "0123456789abcdef",
}


@pytest.fixture
def folder(tmp_path):
    return WorkFolder(tmp_path / "results" / "here")


def enter(folder, identity=IDENTITY, study="preresnet"):
    with folder.claimed(study, identity):
        pass


def test_it_is_made_and_entered_again(folder):
    enter(folder)
    assert json.loads((folder.path / "settings.json").read_text()) == {
        "study": "preresnet",
        **IDENTITY,
    }
    enter(folder)
    enter(folder, dict(reversed(IDENTITY.items())))
    assert sorted(path.name for path in folder.path.iterdir()) == ["lock", "settings.json"]


@pytest.mark.parametrize(
    ("changes", "differing"),
    [
        ({"depth": 14}, "depth (8 there, 14 now)"),
        ({"depth": 14, "rate": 0.2}, "depth (8 there, 14 now), rate (0.1 there, 0.2 now)"),
        ({"widths": [4]}, "widths ([4, 8] there, [4] now)"),
        ({"block": "basic"}, "block ('missing' there, 'basic' now)"),
        ({"numerics": 2}, "numerics (1 there, 2 now)"),
        ({"data_digest": "f" * 16}, "data_digest ('0123456789ab' there, 'ffffffffffff' now)"),
    ],
)
def test_one_of_other_settings_is_refused_with_the_fields_that_differ(folder, changes, differing):
    enter(folder)
    before = (folder.path / "settings.json").read_bytes()
    with pytest.raises(ValueError, match=r"^workdir: ") as caught:
        enter(folder, {**IDENTITY, **changes})
    assert str(caught.value) == (
        f"workdir: {folder.path} was made with other settings or data: {differing};"
        " choose another --workdir"
    )
    assert (folder.path / "settings.json").read_bytes() == before


def test_one_of_another_study_is_refused(folder):
    enter(folder)
    with pytest.raises(ValueError, match=r"study \('preresnet' there, 'vgg' now\)"):
        enter(folder, study="vgg")


def test_one_run_at_a_time(folder):
    found = []

    def second():
        try:
            enter(folder)
        except ValueError as error:
            found.append(str(error))

    with folder.claimed("preresnet", IDENTITY):
        thread = threading.Thread(target=second)
        thread.start()
        thread.join()
    assert found == [f"workdir: another run is in {folder.path}, wait for it"]
    enter(folder)


def test_one_that_another_run_has_just_begun_is_entered(folder, monkeypatch):
    listed = pathlib.Path.iterdir

    def begun_meanwhile(path):
        (path / "lock").touch()
        (path / "settings.json").write_text(json.dumps({"study": "preresnet", **IDENTITY}))
        return listed(path)

    folder.path.mkdir(parents=True)
    monkeypatch.setattr(pathlib.Path, "iterdir", begun_meanwhile)
    enter(folder)


def test_an_error_inside_gives_it_back(folder):
    with pytest.raises(RuntimeError, match="inside"), folder.claimed("preresnet", IDENTITY):
        raise RuntimeError("inside")
    enter(folder)


def test_a_folder_of_something_else_is_left_alone(folder):
    folder.path.mkdir(parents=True)
    (folder.path / "thesis.tex").touch()
    with pytest.raises(ValueError, match=r"is not empty and not of a run, choose another$"):
        enter(folder)
    assert [path.name for path in folder.path.iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize(
    "name", [".DS_Store", "Thumbs.db", "desktop.ini", ".nfs0000000000a1b2c3", "._results"]
)
def test_a_folder_of_system_files_is_empty(folder, name):
    folder.path.mkdir(parents=True)
    (folder.path / name).touch()
    enter(folder)
    assert (folder.path / name).exists()


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_told_in_one_line(folder, monkeypatch, number):
    def flock(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(OSError, match=r"^workdir: must be .* locks, got .*local disk$") as caught:
        enter(folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("left", [["lock"], ["lock", "settings.tmp"], []])
def test_one_that_a_kill_left_half_made_is_entered(folder, left):
    folder.path.mkdir(parents=True)
    for name in left:
        (folder.path / name).touch()
    enter(folder)
    assert sorted(path.name for path in folder.path.iterdir()) == ["lock", "settings.json"]


@pytest.mark.parametrize("text", ["", "{", "[1, 2]", "\xff"])
def test_damaged_settings(folder, text):
    enter(folder)
    (folder.path / "settings.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(ValueError, match=r"settings.json is damaged, choose another folder$"):
        enter(folder)


def test_below_a_file(tmp_path):
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "results"):
        with pytest.raises(OSError, match=f"^workdir: cannot write {path}: ") as caught:
            enter(WorkFolder(path))
        assert "\n" not in str(caught.value)


def test_the_same_settings_find_the_same_folder():
    here = default_folder("preresnet", "digits", IDENTITY)
    assert here == default_folder("preresnet", "digits", dict(reversed(IDENTITY.items())))
    assert here != default_folder("preresnet", "digits", {**IDENTITY, "depth": 14})
    assert str(here).startswith("runs/preresnet-digits-")
    awkward = default_folder("preresnet", "npz:/some where/my data.npz", IDENTITY)
    assert awkward.parts[0] == "runs"
    assert len(awkward.parts) == 2
    assert " " not in str(awkward)
