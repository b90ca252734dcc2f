"""Decoded datasets, kept as arrays that are mapped: the next start need not decode, nor read.

A mapped array takes no memory but that of the file, which all CPU devices share.
"""

import json
import logging
import pathlib
import shutil
import tempfile
import zlib
from collections.abc import Callable

import numpy as np

from flaxdrop.cache_directory import cache_directory
from flaxdrop.data import npz
from flaxdrop.data.dataset import Dataset

_CHECKSUMS = "checksums.json"

# Raise it with every change of what a source's bytes become: how a file is decoded, turned, scaled,
# put on white, resized or cropped, which files are images, the order of examples and classes, and
# the arrays that are kept. It is part of every key: what an earlier version has kept is not found.
DECODER = 2


def cached(key: str, name: str, decode: Callable[[], Dataset]) -> Dataset:
    """Reads the dataset kept under `key`; where there is none, decodes and keeps it.

    What is damaged is made anew; where nothing can be written, nothing is kept.

    Args:
      key: name of a folder; tells the source's content and `DECODER`.
      name: of the dataset.
      decode: reads the source.
    """
    folder = cache_directory() / key
    try:
        return _mapped(folder, name)
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        pass
    dataset = decode()
    try:
        _write(folder, dataset)
    except OSError as error:
        logging.getLogger(__name__).warning(
            "dataset %s: is not kept decoded in %s (%s)",
            name,
            folder.parent,
            error.strerror or error,
        )
    return dataset


def _mapped(folder: pathlib.Path, name: str) -> Dataset:
    files = {array: folder / f"{array}.npy" for array in (*npz.ARRAYS, "classes", "digest")}
    checksums = {path.name: _checksum(path) for path in files.values()}
    if json.loads((folder / _CHECKSUMS).read_text()) != checksums:
        raise ValueError(f"{folder} is damaged")
    arrays = {array: np.asarray(np.load(path, mmap_mode="r")) for array, path in files.items()}
    classes = tuple(str(label) for label in arrays.pop("classes"))
    digest = str(arrays.pop("digest"))
    return Dataset(name=name, classes=classes, whole_digest=digest, **arrays)


def _checksum(path: pathlib.Path) -> int:
    return zlib.crc32(np.memmap(path, np.uint8, mode="r").data)


def _write(folder: pathlib.Path, dataset: Dataset) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    # A folder of its own, then a rename: a reader sees all of it or nothing.
    partial = pathlib.Path(tempfile.mkdtemp(dir=folder.parent, suffix=".partial"))
    try:
        for array in npz.ARRAYS:
            np.save(partial / f"{array}.npy", getattr(dataset, array))
        np.save(partial / "classes.npy", np.array(dataset.classes))
        np.save(partial / "digest.npy", np.array(dataset.digest))
        checksums = {path.name: _checksum(path) for path in partial.iterdir()}
        (partial / _CHECKSUMS).write_text(json.dumps(checksums))
        if folder.exists():  # damaged
            shutil.rmtree(folder)
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
