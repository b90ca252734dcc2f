"""Decoded datasets, kept as uncompressed .npz files so that the next start need not decode."""

import hashlib
import os
import pathlib
import tempfile
from collections.abc import Callable, Iterable

import numpy as np
from absl import logging

from flaxdrop.data import npz
from flaxdrop.data.dataset import Dataset


def directory() -> pathlib.Path:
    """Where the files are: `$FLAXDROP_CACHE`, or `~/.cache/flaxdrop`."""
    return pathlib.Path(os.environ.get("FLAXDROP_CACHE") or "~/.cache/flaxdrop").expanduser()


def fingerprint(root: pathlib.Path, files: Iterable[pathlib.Path]) -> str:
    """A digest of the files' places, sizes and times of change; none is read.

    Args:
        root: a folder.
        files: files below it.
    """
    digest = hashlib.sha256(os.fsencode(root.resolve()))
    for path in files:
        stat = path.stat()
        place = path.relative_to(root)
        digest.update(os.fsencode(f"\n{place}\0{stat.st_size}\0{stat.st_mtime_ns}"))
    return digest.hexdigest()[:16]


def cached(key: str, name: str, decode: Callable[[], Dataset]) -> Dataset:
    """The dataset kept under `key`, or else the one that `decode` makes, which is then kept.

    A damaged file is made anew; where nothing can be written, nothing is kept.

    Args:
        key: file name without its suffix; changes whenever the source does.
        name: of the dataset.
        decode: reads the source.
    """
    path = directory() / f"{key}.npz"
    try:
        return npz.load(path, name)  # zip's checksums find a damaged file
    except (OSError, ValueError):
        pass
    dataset = decode()
    try:
        _write(path, dataset)
    except OSError as error:
        logging.warning("dataset %s is not kept in %s: %s", name, path.parent, error)
    return dataset


def _write(path: pathlib.Path, dataset: Dataset) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # A file of its own, then a rename: a reader sees all of it or nothing.
    descriptor, partial = tempfile.mkstemp(dir=path.parent, suffix=".partial")
    try:
        with os.fdopen(descriptor, "wb") as file:
            arrays = {key: getattr(dataset, key) for key in npz.ARRAYS}
            np.savez(file, **arrays, classes=np.array(dataset.classes))
        os.replace(partial, path)
    finally:
        pathlib.Path(partial).unlink(missing_ok=True)
