import os
import pathlib

import pytest

from flaxdrop.data import source_digest as module
from flaxdrop.data.source_digest import source_digest


@pytest.fixture
def files(tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    paths = [root / "a", root / "b"]
    for path in paths:
        path.write_text(f"content of {path.name}")
        os.utime(path, ns=(5, 5))
    return paths


@pytest.fixture
def settled(monkeypatch):
    """Time is always up: no file is too young for its digest to be kept."""
    monkeypatch.setattr(module, "_SETTLED_NS", -(10**18))


def digest(files):
    return source_digest(files[0].parent, files)


def test_it_is_of_the_content_wherever_it_lies(files, tmp_path):
    before = digest(files)
    os.utime(files[0], ns=(6, 6))
    assert digest(files) == before
    files[0].parent.rename(tmp_path / "elsewhere")
    assert digest([tmp_path / "elsewhere" / path.name for path in files]) == before


@pytest.mark.usefixtures("settled")
def test_it_tells_contents_names_and_places_of_equal_size_and_time(files):
    def changed():
        os.utime(files[0], ns=(5, 5))
        os.utime(files[1], ns=(5, 5))
        return digest(files)

    found = [changed()]
    files[0].write_text("content of c")
    found.append(changed())
    files[0].rename(files[0].with_name("aside"))
    files[1].rename(files[0])
    files[0].with_name("aside").rename(files[1])
    found.append(changed())
    files[1] = files[1].rename(files[1].with_name("d"))
    found.append(changed())
    assert len(set(found)) == 4


@pytest.mark.usefixtures("settled")
def test_what_has_not_changed_is_not_read_again(files, monkeypatch, cache_folder):
    before = digest(files)
    monkeypatch.setattr(module, "_read", None)
    assert digest(files) == before
    (index,) = cache_folder.iterdir()
    index.write_text(index.read_text()[:-9])
    monkeypatch.undo()
    monkeypatch.setenv("FLAXDROP_CACHE", str(cache_folder))
    assert digest(files) == before


def test_what_has_just_changed_is_read_again(files, monkeypatch):
    digest(files)
    read = []
    monkeypatch.setattr(module, "_read", lambda path: read.append(path) or "0")
    digest(files)
    assert read == files


@pytest.mark.usefixtures("settled")
def test_nothing_can_be_written(files, tmp_path, monkeypatch):
    before = digest(files)
    (tmp_path / "file").touch()
    monkeypatch.setenv("FLAXDROP_CACHE", str(tmp_path / "file" / "cache"))
    assert digest(files) == before


def test_what_is_no_file(files, tmp_path):
    with pytest.raises(ValueError, match=r"root: must be a file"):
        source_digest(tmp_path, [files[0].parent])
    with pytest.raises(FileNotFoundError):
        source_digest(tmp_path, [pathlib.Path(tmp_path / "gone")])
