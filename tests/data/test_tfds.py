import io
import shutil
import sys

import numpy as np
import pytest
from PIL import Image

from flaxdrop.data import load
from flaxdrop.data.tfds import prepared


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A data_dir with a cifar10 of 60 + 30 images, written by tensorflow-datasets alone."""
    import tensorflow_datasets as tfds

    original = tfds.builder_cls("cifar10")

    def generate(first, last):
        for i in range(first, last):
            png = io.BytesIO()
            Image.new("RGB", (32, 32), (i, 2 * i, 255 - i)).save(png, "PNG")
            png.seek(0)
            yield i, {"id": str(i), "image": png, "label": i % 10}

    def splits(self, _):
        self.info.features["label"].names = [f"name_{i}" for i in range(10)]
        return {"train": generate(0, 60), "test": generate(60, 90)}

    with tfds.core.registered.skip_registration():
        builder = type("Cifar10", (original,), {"_split_generators": splits})
    root = tmp_path_factory.mktemp("written")
    builder(data_dir=root, file_format="array_record").download_and_prepare()
    return root


@pytest.fixture
def root(written, tmp_path, monkeypatch):
    shutil.copytree(written, tmp_path / "tfds")
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "nowhere"))
    return tmp_path / "tfds"


def assert_right(data):
    for x, y, numbers in (
        (data.x_train, data.y_train, range(60)),
        (data.x_test, data.y_test, range(60, 90)),
    ):
        found = x[:, 5, 7, 0].astype(int)
        assert sorted(found) == list(numbers)
        np.testing.assert_array_equal(y, found % 10)
        expected = np.stack([found, 2 * found, 255 - found], axis=1)[:, None, None]
        np.testing.assert_array_equal(x, np.broadcast_to(expected, x.shape))
    assert data.classes == tuple(f"name_{i}" for i in range(10))


def error_of(root):
    with pytest.raises(ValueError, match=r"^dataset cifar10: ") as caught:
        load("cifar10", data_dir=str(root))
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_reads_what_tensorflow_datasets_prepared(root):
    assert_right(load("cifar10", data_dir=str(root)))


def test_an_npz_file_in_the_data_dir_is_the_same_dataset(root, tmp_path, monkeypatch):
    original = load("cifar10", data_dir=str(root))
    shuffled = {"classes": np.array(original.classes)}
    for split in ("train", "test"):
        x, y = getattr(original, f"x_{split}"), getattr(original, f"y_{split}")
        order = np.random.default_rng(1).permutation(len(x))
        shuffled |= {f"x_{split}": x[order], f"y_{split}": y[order]}
    elsewhere = tmp_path / "arrays"
    elsewhere.mkdir()
    np.savez(elsewhere / "cifar10.npz", **shuffled)
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    found = load("cifar10", data_dir=str(elsewhere))
    assert (found.name, found.classes) == (original.name, original.classes)
    assert found.digest == original.digest
    for array in ("x_train", "y_train", "x_test", "y_test"):
        np.testing.assert_array_equal(getattr(found, array), getattr(original, array))
    # The other dataset is not there.
    with pytest.raises(ValueError, match=r"^dataset cifar100: "):
        load("cifar100", data_dir=str(elsewhere))


def test_data_dir_from_the_environment(root, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(root))
    assert_right(load("cifar10"))


def test_data_dir_in_the_home_folder(root, monkeypatch):
    monkeypatch.delenv("TFDS_DATA_DIR")
    monkeypatch.setenv("HOME", str(root.parent))
    root.rename(root.parent / "tensorflow_datasets")
    assert_right(load("cifar10"))


def test_the_second_start_needs_no_tensorflow_datasets(root, monkeypatch):
    load("cifar10", data_dir=str(root))
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    assert_right(load("cifar10", data_dir=str(root)))


def test_a_dataset_prepared_anew_is_decoded_anew(root, monkeypatch):
    load("cifar10", data_dir=str(root))
    info = root / "cifar10" / "3.0.2" / "dataset_info.json"
    info.touch()
    assert_right(load("cifar10", data_dir=str(root)))
    info.write_text(info.read_text() + "\n")
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    assert 'pip install ".[tfds]"' in error_of(root)


def test_the_newest_prepared_version(tmp_path):
    for version in ("3.0.2", "3.0.10", "2.9.9", "incomplete.ABC_4.0.0"):
        (tmp_path / "cifar10" / version).mkdir(parents=True)
        (tmp_path / "cifar10" / version / "dataset_info.json").touch()
    (tmp_path / "cifar10" / "5.0.0").mkdir()
    assert prepared(tmp_path, "cifar10") == tmp_path / "cifar10" / "3.0.10"
    assert prepared(tmp_path, "cifar100") is None


@pytest.mark.parametrize("file", ["cifar10-train.array_record-00000-of-00001", "dataset_info.json"])
@pytest.mark.parametrize("keep", [0, 1000])
def test_damaged_files(root, file, keep):
    path = root / "cifar10" / "3.0.2" / file
    path.write_bytes(path.read_bytes()[:keep])
    assert f"delete {path.parent}, which cannot be read" in error_of(root)


def test_other_formats_are_refused(root):
    for path in (root / "cifar10" / "3.0.2").glob("*array_record*"):
        path.rename(str(path).replace("array_record", "tfrecord"))
    assert "has no array_record files" in error_of(root)
