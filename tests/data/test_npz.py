import pickle
import re
import warnings

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
    assert "no such file" in error_of(tmp_path)


def test_empty_file(tmp_path):
    path = tmp_path / "empty.npz"
    path.touch()
    assert "the file is empty" in error_of(path)


@pytest.mark.parametrize("keep", [1, 10, 500, 2000, -1])
def test_cut_off_file(save, keep):
    path = save()
    path.write_bytes(path.read_bytes()[:keep])
    assert "not a readable .npz file" in error_of(path)


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
    assert "not a readable .npz file" in error_of(path)


class Trap:
    def __reduce__(self):
        return (pytest.fail, ("a pickle was opened",))


def test_pickles_are_refused(tmp_path, save):
    objects = np.empty(12, object)
    objects[:] = [Trap() for _ in range(12)]
    assert "not a readable .npz file" in error_of(save(y_train=objects))
    path = tmp_path / "pickle.npz"
    path.write_bytes(pickle.dumps(Trap()))
    assert "not a readable .npz file" in error_of(path)


@pytest.mark.parametrize("key", ["x_train", "y_train", "x_test", "y_test"])
def test_missing_key(save, key):
    message = error_of(save(**{key: None}))
    assert f"no array {key} in the file" in message


def test_no_known_key(tmp_path):
    path = tmp_path / "other.npz"
    np.savez(path, images=np.zeros(3))
    assert "no array x_train, y_train, x_test, y_test" in error_of(path)


@pytest.mark.parametrize(
    ("key", "change", "message"),
    [
        ("x_train", lambda x: x / 255, "x_train has dtype float64"),
        ("x_test", lambda x: x[:, 0, 0], "x_test has shape (6, 3)"),
        ("x_test", lambda x: x[:, :, :4], "x_test has images of shape (6, 4, 3)"),
        ("x_train", lambda x: x[:0], "x_train is empty"),
        ("y_train", lambda y: y[:5], "y_train has shape (5,)"),
        ("y_train", lambda y: y.astype(float), "y_train has dtype float64"),
        ("y_test", lambda y: y > 0, "y_test has dtype bool"),
        ("y_train", lambda y: y - 1, "y_train has labels from -1 to 1"),
        ("y_test", lambda y: y + 2, "y_test has labels from 2 to 4"),
        ("y_test", lambda y: y.astype(np.uint64) + 2**32, "y_test has labels from 4294967296"),
        ("classes", lambda c: np.arange(len(c)), "classes has dtype int64"),
        ("classes", lambda c: c[None], "and shape (1, 3)"),
        ("classes", lambda c: c[:0], "classes is empty"),
    ],
)
def test_arrays_that_do_not_fit(save, arrays, key, change, message):
    assert message in error_of(save(**{key: change(arrays[key])}))


def test_labels_without_names_must_be_credible(save, arrays):
    labels = arrays["y_test"].copy()
    labels[0] = 2_000_000_000
    assert "labels up to 2000000000 for 12" in error_of(save(y_test=labels, classes=None))
