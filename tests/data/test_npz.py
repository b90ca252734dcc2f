import io
import pathlib
import pickle
import re
import warnings
import zipfile

import numpy as np
import pytest

from flaxdrop.data import load


def error_of(path):
    with pytest.raises(ValueError, match=re.escape(f"dataset npz:{path}: ")) as caught:
        load(f"npz:{path}")
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.fixture
def save(tmp_path, arrays):
    """Writes the arrays, some of them replaced or (None) left out."""

    def write(**changes):
        path = tmp_path / "data.npz"
        contents = {**arrays, **changes}
        np.savez(path, **{key: value for key, value in contents.items() if value is not None})
        return path

    return write


def test_reads_what_was_written(save, arrays):
    data = load(f"npz:{save()}")
    for key in ("x_train", "y_train", "x_test", "y_test"):
        np.testing.assert_array_equal(getattr(data, key), arrays[key])
    assert data.y_train.dtype == np.int32
    assert data.classes == ("ant", "bee", "cat")


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint64, ">i4"])
def test_labels_of_any_integer_dtype(save, arrays, dtype):
    data = load(f"npz:{save(y_train=arrays['y_train'].astype(dtype))}")
    np.testing.assert_array_equal(data.y_train, arrays["y_train"])
    assert data.y_train.dtype == np.int32


def test_compressed_files_and_grey_images_without_channels(tmp_path, arrays):
    path = tmp_path / "grey.npz"
    grey = {key: x[..., 0] if key.startswith("x_") else x for key, x in arrays.items()}
    np.savez_compressed(path, **grey)
    data = load(f"npz:{path}")
    assert data.image_shape == (6, 5, 1)
    np.testing.assert_array_equal(data.x_test[..., 0], grey["x_test"])


def test_without_names_classes_are_numbered(save):
    assert load(f"npz:{save(classes=None)}").classes == ("0", "1", "2")


def test_classes_may_be_bytes(save):
    assert load(f"npz:{save(classes=np.array([b'a', b'b', b'c']))}").classes == ("a", "b", "c")


def test_missing_file(tmp_path):
    assert "no such file" in error_of(tmp_path / "nowhere.npz")


def test_folder_in_place_of_a_file(tmp_path):
    assert "is a folder" in error_of(tmp_path)


def test_a_link_that_leads_nowhere(tmp_path):
    (tmp_path / "link.npz").symlink_to("gone.npz")
    assert "is a link to gone.npz, which is missing" in error_of(tmp_path / "link.npz")


def test_a_file_that_may_not_be_read(save, monkeypatch):
    path = save()

    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(pathlib.Path, "open", refuse)
    assert "cannot be read: Permission denied" in error_of(path)


def test_a_zip_of_other_files(tmp_path):
    path = tmp_path / "images.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("train/ant/0.png", b"not an array")
    assert "the file has train/ant/0.png" in error_of(path)
    with zipfile.ZipFile(path, "w") as archive:
        for key in ("x_train", "y_train", "x_test", "y_test"):
            archive.writestr(f"{key}.npy", b"not an array")
    assert "x_train: must be an array, got other bytes" in error_of(path)
    with zipfile.ZipFile(path, "w"):
        pass
    assert "the file has nothing" in error_of(path)


def test_empty_file(tmp_path):
    path = tmp_path / "empty.npz"
    path.touch()
    assert "the file is empty" in error_of(path)


@pytest.mark.parametrize("keep", [1, 10, 500, 2000, -1])
def test_cut_off_file(save, keep):
    path = save()
    path.write_bytes(path.read_bytes()[:keep])
    assert "damaged or cut off" in error_of(path) or keep == 1


def test_damaged_bytes_are_noticed_or_harmless(save, arrays):
    path = save()
    whole = path.read_bytes()
    refused = 0
    for position in range(0, len(whole), 97):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 0x55]) + whole[position + 1 :])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the zip file's directory, before it is refused
            try:
                data = load(f"npz:{path}")
            except ValueError:
                refused += 1
            else:
                np.testing.assert_array_equal(data.x_train, arrays["x_train"])
                np.testing.assert_array_equal(data.y_test, arrays["y_test"])
    assert refused > 10


def test_an_array_or_text_in_place_of_an_archive(tmp_path, arrays):
    path = tmp_path / "x.npz"
    with path.open("wb") as file:
        np.save(file, arrays["x_train"])
    assert "single array" in error_of(path)
    path.write_text("a table\n1 2 3\n")
    assert "must be a .npz file" in error_of(path)


class Trap:
    def __reduce__(self):
        return (pytest.fail, ("a pickle was opened",))


def test_pickles_are_refused(tmp_path, save):
    objects = np.empty(12, object)
    objects[:] = [Trap() for _ in range(12)]
    assert "y_train: must be numbers, got pickled objects" in error_of(save(y_train=objects))
    path = tmp_path / "pickle.npz"
    path.write_bytes(pickle.dumps(Trap()))
    assert "must be a .npz file" in error_of(path)


def test_an_array_that_says_to_be_huge(tmp_path, save):
    header = io.BytesIO()
    shape = {"descr": "|u1", "fortran_order": False, "shape": (10**12, 32, 32, 3)}
    np.lib.format.write_array_header_1_0(header, shape)
    with zipfile.ZipFile(save(x_train=None), "a") as archive:
        archive.writestr("x_train.npy", header.getvalue())
    assert "x_train: must fit into memory" in error_of(tmp_path / "data.npz")


@pytest.mark.parametrize("key", ["x_train", "y_train", "x_test", "y_test"])
def test_missing_key(save, key):
    message = error_of(save(**{key: None}))
    assert f"got no {key}: the file has classes, " in message


def test_no_known_key(tmp_path):
    path = tmp_path / "other.npz"
    np.savez(path, images=np.zeros(3), **{f"label {i}": np.zeros(3) for i in range(30)})
    message = error_of(path)
    assert "must have the arrays x_train, y_train, x_test, y_test" in message
    assert "the file has images, label 0, " in message
    assert "and 11 more" in message


def test_the_keys_of_medmnist(tmp_path, arrays, caplog):
    path = tmp_path / "pathmnist.npz"
    theirs = {"x_train": "train_images", "y_train": "train_labels"}
    theirs |= {"x_test": "test_images", "y_test": "test_labels"}
    contents = {theirs[key]: array for key, array in arrays.items() if key in theirs}
    contents |= {key: y.reshape(-1, 1) for key, y in contents.items() if key.endswith("labels")}
    contents |= {"val_images": arrays["x_test"], "val_labels": arrays["y_test"]}
    np.savez(path, **contents)
    data = load(f"npz:{path}")
    for key in theirs:
        np.testing.assert_array_equal(getattr(data, key), arrays[key])
    assert "left out the arrays val_images, val_labels" in caplog.text
    np.savez(path, **{key: x for key, x in contents.items() if key != "test_labels"})
    assert "got no test_labels" in error_of(path)


@pytest.mark.parametrize(
    ("key", "change", "message"),
    [
        ("x_train", lambda x: x / 255, "x_train: must be uint8, pixels 0..255, got float64"),
        ("x_train", lambda x: x.transpose(0, 3, 1, 2), "got [12, 3, 6, 5]: transpose(0, 2, 3, 1)"),
        ("x_test", lambda x: x[:, 0, 0], "x_test: must be [N, H, W, C], got [6, 3]"),
        ("x_test", lambda x: x[:, :, :4], "got [6, 4, 3]"),
        ("x_train", lambda x: x[:0], "x_train: must have at least one pixel"),
        ("y_train", lambda y: y[:5], "y_train: must be [12], a label an image, got [5]"),
        ("y_train", lambda y: y.astype(float), "y_train: must be integers, got float64"),
        ("y_train", lambda y: np.eye(3)[y], "y_train: must be [N] or [N, 1], got [12, 3]: argmax"),
        ("y_train", lambda y: y * 0, "y_train: must have at least 2 classes, got 1 (ant)"),
        ("y_train", lambda y: y % 2, "y_test: must have no label that y_train lacks, got 2 (cat)"),
        ("y_test", lambda y: y > 0, "y_test: must be integers, got bool"),
        ("y_train", lambda y: y - 1, "y_train: must be labels that count from 0, got -1 to 1"),
        ("y_test", lambda y: y + 2, "y_test: must be labels 0..2, got 2 to 4"),
        ("y_test", lambda y: y.astype(np.uint64) + 2**32, "y_test: must be labels that count"),
        ("classes", lambda c: np.arange(len(c)), "classes: must be strings [num_classes]"),
        ("classes", lambda c: c[None], "classes: must be strings [num_classes]"),
        ("classes", lambda c: c[:0], "classes: must be at least one name"),
        ("classes", lambda c: np.array([b"\xff"] * len(c)), "classes: must be text in UTF-8"),
    ],
)
def test_arrays_that_do_not_fit(save, arrays, key, change, message):
    assert message in error_of(save(**{key: change(arrays[key])}))


@pytest.mark.parametrize(("label", "unused"), [(2_000_000_000, 3), (4, 3)])
def test_labels_without_names_have_no_gaps(save, arrays, label, unused):
    labels = arrays["y_test"].copy()
    labels[0] = label
    message = error_of(save(y_test=labels, classes=None))
    assert f"got labels up to {label} but no {unused}" in message


def test_labels_that_count_from_one(save, arrays):
    ones = {key: arrays[key] + 1 for key in ("y_train", "y_test")}
    assert "must count from 0 without gaps" in error_of(save(**ones, classes=None))


def test_a_column_of_labels(save, arrays):
    columns = {key: arrays[key][:, None] for key in ("y_train", "y_test")}
    np.testing.assert_array_equal(load(f"npz:{save(**columns)}").y_train, arrays["y_train"])
