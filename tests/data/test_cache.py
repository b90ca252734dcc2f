import jax
import numpy as np
import pytest

from flaxdrop.cache_directory import cache_directory
from flaxdrop.data import cache
from flaxdrop.training.tracing import make_mesh, on_every_device


@pytest.fixture
def source(dataset):
    """Something to decode, which counts how often it was decoded."""

    class Source:
        decoded = 0

        def __call__(self):
            self.decoded += 1
            return dataset

    return Source()


def assert_same(data, dataset):
    for key in ("x_train", "y_train", "x_test", "y_test"):
        np.testing.assert_array_equal(getattr(data, key), getattr(dataset, key))
        assert getattr(data, key).dtype == getattr(dataset, key).dtype
    assert data.classes == dataset.classes
    assert data.name == dataset.name
    assert data.digest == dataset.digest


def test_decodes_once(source, dataset, cache_folder):
    for _ in range(3):
        assert_same(cache.cached("key", "small", source), dataset)
    assert source.decoded == 1
    assert [path.name for path in cache_folder.iterdir()] == ["key"]


def test_what_is_kept_takes_no_memory_and_devices_share_it(source):
    cache.cached("key", "small", source)
    kept = cache.cached("key", "small", source).x_train
    assert type(kept) is np.ndarray
    assert isinstance(kept.base, np.memmap)
    shared = on_every_device(make_mesh(jax.devices("cpu")), kept)
    assert len(shared.addressable_shards) == len(jax.devices("cpu"))
    for shard in shared.addressable_shards:
        assert shard.data.unsafe_buffer_pointer() == kept.ctypes.data


def test_what_is_kept_knows_its_digest(source, dataset, monkeypatch):
    cache.cached("key", "small", source)
    digest = dataset.digest
    monkeypatch.setattr("flaxdrop.data.dataset.arrays_digest", None)
    assert cache.cached("key", "small", source).first(2, 1).digest == digest


def test_another_key_is_another_dataset(source):
    cache.cached("one", "small", source)
    cache.cached("two", "small", source)
    assert source.decoded == 2


@pytest.mark.parametrize("file", ["x_train.npy", "classes.npy", "digest.npy", "checksums.json"])
@pytest.mark.parametrize(
    "damage",
    [
        lambda whole: whole[:0],
        lambda whole: whole[:100],
        lambda whole: whole[:-1],
        lambda whole: whole[::-1],
        # Of a pixel, a letter or a digit.
        lambda whole: whole[:-7] + bytes([whole[-7] ^ 1]) + whole[-6:],
    ],
    ids=["empty", "cut off early", "cut off late", "reversed", "one bit"],
)
def test_what_is_damaged_is_made_anew(source, dataset, cache_folder, damage, file):
    cache.cached("key", "small", source)
    path = cache_folder / "key" / file
    path.write_bytes(damage(path.read_bytes()))
    assert_same(cache.cached("key", "small", source), dataset)
    assert source.decoded == 2
    assert_same(cache.cached("key", "small", source), dataset)
    assert source.decoded == 2


def test_works_where_nothing_can_be_written(source, dataset, tmp_path, monkeypatch, caplog):
    # A file in place of the folder: it stops even the superuser.
    (tmp_path / "file").touch()
    monkeypatch.setenv("FLAXDROP_CACHE", str(tmp_path / "file" / "cache"))
    for _ in range(2):
        assert_same(cache.cached("key", "small", source), dataset)
    assert source.decoded == 2
    assert "small: is not kept" in caplog.text


def test_a_full_disk_leaves_nothing_behind(source, dataset, cache_folder, monkeypatch):
    def half(path, _):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "save", half)
    assert_same(cache.cached("key", "small", source), dataset)
    assert list(cache_folder.iterdir()) == []


def test_the_default_is_in_the_home_folder(monkeypatch, tmp_path):
    monkeypatch.delenv("FLAXDROP_CACHE")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_directory() == tmp_path / ".cache" / "flaxdrop"
