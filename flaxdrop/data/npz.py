"""Arrays in a .npz file: `npz:FILE`."""

import pathlib

import numpy as np

from flaxdrop.data.dataset import Dataset

ARRAYS = ("x_train", "y_train", "x_test", "y_test")


def load(path: str | pathlib.Path, name: str | None = None) -> Dataset:
    """Reads a dataset from a .npz file; pickled objects are refused.

    Keys of the file:
        x_train, x_test: uint8 [N, H, W, C] or [N, H, W], pixels 0..255.
        y_train, y_test: any integer dtype [N], labels from 0.
        classes: optional, strings [num_classes]; else the labels' numbers up to the largest.

    Args:
        path: the file; a leading ~ is the home folder.
        name: of the dataset; default `npz:FILE`.

    Raises:
        ValueError: no such file, a damaged one, keys missing, or arrays that do not fit.
    """
    name = name or f"npz:{path}"
    arrays = _read(pathlib.Path(path).expanduser(), name)
    if missing := [key for key in ARRAYS if key not in arrays]:
        found = ", ".join(sorted(arrays)) or "nothing"
        raise ValueError(
            f"dataset {name}: no array {', '.join(missing)} in the file; it has {found}"
        )
    labels = {key: _labels(arrays[key], f"dataset {name}: {key}") for key in ("y_train", "y_test")}
    return Dataset(
        name=name,
        x_train=_images(arrays["x_train"]),
        y_train=labels["y_train"],
        x_test=_images(arrays["x_test"]),
        y_test=labels["y_test"],
        classes=_classes(arrays.get("classes"), labels, name),
    )


def _read(path: pathlib.Path, name: str) -> dict[str, np.ndarray]:
    if not path.is_file():
        raise ValueError(f"dataset {name}: no such file")
    if path.stat().st_size == 0:
        raise ValueError(f"dataset {name}: the file is empty")
    try:
        with path.open("rb") as file:  # np.load itself leaves a damaged file open
            archive = np.load(file, allow_pickle=False)
            if isinstance(archive, np.ndarray):
                raise ValueError("it holds a single array")
            return {key: archive[key] for key in (*ARRAYS, "classes") if key in archive}
    except Exception as error:  # what numpy and zipfile raise on damaged bytes is open-ended
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise ValueError(f"dataset {name}: not a readable .npz file ({reason})") from error


def _images(x: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(x[..., None] if x.ndim == 3 else x)


def _labels(y: np.ndarray, field: str) -> np.ndarray:
    if y.dtype.kind not in "iu":
        raise ValueError(f"{field} has dtype {y.dtype}; labels must be integers")
    limits = np.iinfo(np.int32)
    if y.size and (y.min() < 0 or y.max() > limits.max):
        raise ValueError(f"{field} has labels from {y.min()} to {y.max()}; they must count from 0")
    return y.astype(np.int32)


def _classes(
    classes: np.ndarray | None, labels: dict[str, np.ndarray], name: str
) -> tuple[str, ...]:
    if classes is not None:
        if classes.dtype.kind not in "US" or classes.ndim != 1:
            raise ValueError(
                f"dataset {name}: classes has dtype {classes.dtype} and shape {classes.shape}; "
                "it must be strings [num_classes]"
            )
        return tuple(str(label) for label in classes.astype(str))
    largest = max((int(y.max()) for y in labels.values() if y.size), default=0)
    # Without names the largest label tells how many classes there are: it must be a credible one.
    if largest >= (examples := labels["y_train"].size):
        raise ValueError(
            f"dataset {name}: labels up to {largest} for {examples} training examples; "
            "they must count from 0 without gaps, or the file must have classes"
        )
    return tuple(str(label) for label in range(largest + 1))
