"""CIFAR-10 and CIFAR-100 through tensorflow-datasets, without TensorFlow: `cifar10`, `cifar100`."""

import io
import os
import pathlib
import re
from typing import Any

import numpy as np
from PIL import Image

from flaxdrop.data import cache, npz, prepare
from flaxdrop.data.dataset import Dataset
from flaxdrop.data.source_digest import source_digest

NAMES = ("cifar10", "cifar100")

# Examples; one by one, array_record takes twice as long.
READ_AT_ONCE = 1000


def load(name: str, data_dir: str | None = None) -> Dataset:
    """Reads a prepared dataset, which is prepared first where it is not; kept decoded.

    tensorflow-datasets is imported only if there is no decoded copy yet. Whatever the source, the
    dataset is the same to the last bit (`Dataset.in_own_order`).

    Args:
      name: `cifar10` or `cifar100`.
      data_dir: of tensorflow-datasets; default $TFDS_DATA_DIR, or ~/tensorflow_datasets. Where a
        file `NAME.npz` is in it (as `npz.load` reads), that is the dataset.

    Raises:
      ValueError: tensorflow-datasets is not installed, or the dataset can be neither prepared nor
        read; the message says what to do.
    """
    where = root(data_dir)
    if (file := where / f"{name}.npz").is_file():
        return npz.load(file, name).in_own_order()
    folder = prepared(where, name)
    if folder is None:
        prepare.prepare(name, where)
        folder = prepared(where, name)
        assert folder is not None
    files = sorted(folder.iterdir())
    with prepare.as_value_error(name, f"{folder} cannot be read"):
        key = f"{name}-{folder.name}-{cache.DECODER}-{source_digest(folder, files)}"
    return cache.cached(key, name, lambda: _decode(name, folder).in_own_order())


def root(data_dir: str | None) -> pathlib.Path:
    """The folder of datasets: as given, $TFDS_DATA_DIR or ~/tensorflow_datasets."""
    data_dir = data_dir or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"
    return pathlib.Path(data_dir).expanduser()


def prepared(root: pathlib.Path, name: str) -> pathlib.Path | None:
    """The folder of the newest prepared version, `root/name/1.2.3`; None if there is none."""
    versions = {
        tuple(map(int, path.parent.name.split("."))): path.parent
        for path in root.glob(f"{name}/*/dataset_info.json")
        if re.fullmatch(r"\d+\.\d+\.\d+", path.parent.name)
    }
    return versions[max(versions)] if versions else None


def _decode(name: str, folder: pathlib.Path) -> Dataset:
    if not any(folder.glob("*.array_record*")):
        raise ValueError(
            f"dataset {name}: {folder} has no array_record files, the only ones to be read without "
            "TensorFlow; use another data_dir"
        )
    with prepare.as_value_error(name, f"delete {folder}, which cannot be read, to prepare it anew"):
        import tensorflow_datasets  # optional, and takes long to import

        sources = tensorflow_datasets.data_source(
            f"{name}:{folder.name}",
            data_dir=folder.parent.parent,
            download=False,
            decoders={"image": tensorflow_datasets.decode.SkipDecoding()},
        )
        arrays = (*_split(sources["train"]), *_split(sources["test"]))
        classes = tuple(sources["train"].dataset_info.features["label"].names)
    return Dataset(name, *arrays, classes)


def _split(source: Any) -> tuple[np.ndarray, np.ndarray]:
    images = np.empty((len(source), *source.dataset_info.features["image"].shape), np.uint8)
    labels = np.empty(len(source), np.int32)
    for start in range(0, len(source), READ_AT_ONCE):
        indices = range(start, min(start + READ_AT_ONCE, len(source)))
        for i, example in zip(indices, source.__getitems__(indices), strict=True):
            images[i] = np.asarray(Image.open(io.BytesIO(example["image"])))
            labels[i] = example["label"]
    return images, labels
