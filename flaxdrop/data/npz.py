"""Arrays in a .npz file: `npz:FILE`."""

import logging
import pathlib
from typing import BinaryIO, NoReturn

import numpy as np

from flaxdrop.data.dataset import Dataset
from flaxdrop.memory import check_fits

ARRAYS = ("x_train", "y_train", "x_test", "y_test")

# The keys of MedMNIST.
_MEDMNIST = ("train_images", "train_labels", "test_images", "test_labels")

_ZIP, _EMPTY_ZIP, _NPY = b"PK\x03\x04", b"PK\x05\x06", b"\x93NUMPY"


def load(path: str | pathlib.Path, name: str | None = None) -> Dataset:
    """Reads a dataset from a .npz file; pickled objects are refused.

    Keys of the file:
        x_train, x_test: uint8 [N, H, W, C] or [N, H, W], pixels 0..255.
        y_train, y_test: any integer dtype [N] or [N, 1], labels from 0.
        classes: optional, strings [num_classes]; else the labels' numbers up to the largest.

    Those of MedMNIST, train_images, train_labels, test_images and test_labels, may stand in their
    place. Other arrays, as its val_images and val_labels, are left out, and a warning names them:
    nothing is chosen by a validation set.

    Args:
      path: the file; a leading ~ is the home folder.
      name: of the dataset; default `npz:FILE`.

    Raises:
      ValueError: no such file, a damaged one, keys missing, or arrays that do not fit.
    """
    name = name or f"npz:{path}"
    try:
        arrays, others = _read(pathlib.Path(path).expanduser())
        labels = {key: _labels(arrays[key], key) for key in ("y_train", "y_test")}
        classes = _classes(arrays.get("classes"), labels)
    except ValueError as error:
        raise ValueError(f"dataset {name}: {error}") from error.__cause__
    if others:
        logging.getLogger(__name__).warning(
            "dataset %s: left out the arrays %s", name, ", ".join(others)
        )
    return Dataset(
        name=name,
        x_train=_images(arrays["x_train"]),
        y_train=labels["y_train"],
        x_test=_images(arrays["x_test"]),
        y_test=labels["y_test"],
        classes=classes,
    ).check_learnable()


def _read(path: pathlib.Path) -> tuple[dict[str, np.ndarray], list[str]]:
    """The arrays by our keys, and the keys that are left out."""
    try:
        if path.is_dir():
            raise ValueError("is a folder, give a .npz file or folder:DIR")
        with path.open("rb") as file:  # np.load itself leaves a damaged file open
            _check_kind(file.read(len(_NPY)))
            file.seek(0)
            return _arrays(file)
    except FileNotFoundError:
        reason = "no such file"
        if path.is_symlink():
            reason = f"is a link to {path.readlink()}, which is missing"
        raise ValueError(reason) from None
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror or error}") from None


def _check_kind(beginning: bytes) -> None:
    if not beginning:
        raise ValueError("the file is empty")
    if beginning == _NPY:
        raise ValueError("must be a .npz file, got a single array (.npy)")
    if not beginning.startswith((_ZIP, _EMPTY_ZIP)):
        raise ValueError("must be a .npz file, as numpy.savez writes it, got another kind")


def _arrays(file: BinaryIO) -> tuple[dict[str, np.ndarray], list[str]]:
    try:
        archive = np.load(file, allow_pickle=False)
    except Exception as error:  # what numpy and zipfile raise on damaged bytes is open-ended
        _damaged("the file", error)
    found = sorted(archive.files)
    names = dict(zip(ARRAYS, ARRAYS, strict=True))
    if set(_MEDMNIST) & set(found) and not set(ARRAYS) & set(found):
        names = dict(zip(ARRAYS, _MEDMNIST, strict=True))
    if missing := [key for key in names.values() if key not in found]:
        raise ValueError(
            f"must have the arrays {', '.join(names.values())}, got no {', '.join(missing)}:"
            f" the file has {_few(found)}"
        )
    if "classes" in found:
        names["classes"] = "classes"
    # Each is read, and made contiguous; what is packed well takes far less in the file.
    sizes = [entry.file_size for entry in archive.zip.infolist()]
    check_fits("the file", 2 * sum(sizes), "its arrays")
    arrays = {ours: _array(archive, theirs) for ours, theirs in names.items()}
    return arrays, [key for key in found if key not in names.values()]


def _array(archive: np.lib.npyio.NpzFile, key: str) -> np.ndarray:
    try:
        array = archive[key]
    except MemoryError as error:
        raise ValueError(f"{key}: must fit into memory ({error})") from None
    except Exception as error:  # see above
        if "allow_pickle" in str(error):
            raise ValueError(f"{key}: must be numbers, got pickled objects") from None
        _damaged(key, error)
    if not isinstance(array, np.ndarray):
        raise ValueError(f"{key}: must be an array, got other bytes")
    return array


def _damaged(what: str, error: Exception) -> NoReturn:
    reason = " ".join(str(error).split()) or type(error).__name__
    raise ValueError(f"{what} is damaged or cut off ({reason})") from error


def _few(keys: list[str], most: int = 20) -> str:
    rest = f" and {len(keys) - most:,} more" if len(keys) > most else ""
    return (", ".join(keys[:most]) or "nothing") + rest


def _images(x: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(x[..., None] if x.ndim == 3 else x)


def _labels(y: np.ndarray, field: str) -> np.ndarray:
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.ndim == 2:
        raise ValueError(
            f"{field}: must be [N] or [N, 1], got [{y.shape[0]}, {y.shape[1]}]: argmax(axis=1), if"
            " an image has one label"
        )
    if y.dtype.kind not in "iu":
        raise ValueError(f"{field}: must be integers, got {y.dtype}")
    limits = np.iinfo(np.int32)
    if y.size and (y.min() < 0 or y.max() > limits.max):
        raise ValueError(f"{field}: must be labels that count from 0, got {y.min()} to {y.max()}")
    return y.astype(np.int32)


def _classes(classes: np.ndarray | None, labels: dict[str, np.ndarray]) -> tuple[str, ...]:
    if classes is not None:
        if classes.dtype.kind not in "US" or classes.ndim != 1:
            raise ValueError(
                f"classes: must be strings [num_classes], got {classes.dtype} {classes.shape}"
            )
        try:
            return tuple(
                label.decode() if isinstance(label, bytes) else str(label) for label in classes
            )
        except UnicodeDecodeError:
            raise ValueError("classes: must be text in UTF-8, got other bytes") from None
    largest = max((int(y.max()) for y in labels.values() if y.size), default=0)
    # Without names the labels tell what classes there are, so none may be left out.
    numbers = np.unique(np.concatenate([y.ravel() for y in labels.values()]))
    if len(numbers) <= largest:
        unused = int(np.flatnonzero(np.append(numbers, -1) != np.arange(len(numbers) + 1))[0])
        raise ValueError(
            f"y_train: must count from 0 without gaps, got labels up to {largest} but no {unused};"
            " or add classes, the names of all"
        )
    return tuple(str(label) for label in range(largest + 1))
