"""Image files: `folder:DIR`, which has train/ and test/, and in each a folder a class."""

import concurrent.futures
import logging
import os
import pathlib
from collections.abc import Sequence

import numpy as np

from flaxdrop.data import cache, image_file
from flaxdrop.data.dataset import Dataset
from flaxdrop.data.source_digest import source_digest

# What systems write beside pictures without being asked. Hidden files begin with a dot.
_OF_THE_SYSTEM = frozenset(("thumbs.db", "desktop.ini", "__macosx", "@eadir"))


def load(path: str, image_size: int | None) -> Dataset:
    """Reads all images as RGB and keeps them decoded.

    A class is a folder in train/ and in test/; its images may lie in folders within it. Classes and
    files are taken in the order of their names. An image is a file whose ending is that of a format
    which the installed Pillow reads. A warning counts the other files; hidden ones are left out
    without a word.

    Args:
      path: the folder; a leading ~ is the home folder.
      image_size: pixels: the shorter side is brought to it, the centre is kept. None: the images
        stay as they are, and must all be of one size.

    Raises:
      ValueError: images of several sizes without `image_size`; no such folder, or a file such as a
        .zip; no train/ or test/, no images, an image that cannot be read, one class only, or one
        that is not in both train/ and test/.
    """
    name = f"folder:{path}"
    root = pathlib.Path(path).expanduser()
    others: list[pathlib.Path] = []
    try:
        if not root.is_dir():
            reason = "no such folder"
            if root.exists():
                reason = "is a file, unpack it and give the folder"
            raise ValueError(reason)
        train, test = (_by_class(root / part, others) for part in ("train", "test"))
        classes = _classes(train, test, _left_out(others, root))
        digest = source_digest(root, [*_flat(train), *_flat(test)])
    except ValueError as error:
        raise ValueError(f"dataset {name}: {error}") from None
    except OSError as error:
        raise ValueError(f"dataset {name}: {error.filename}: {error.strerror}") from None
    if others:
        logging.getLogger(__name__).warning("dataset %s: %s", name, _left_out(others, root))

    def decode() -> Dataset:
        arrays = _decode(train, test, image_size, name)
        return Dataset(name, *arrays, classes)

    return cache.cached(f"folder-{image_size}-{cache.DECODER}-{digest}", name, decode)


def _by_class(folder: pathlib.Path, others: list[pathlib.Path]) -> dict[str, list[pathlib.Path]]:
    """The image files of each class of a split, both sorted; `others` gets the other files."""
    if not folder.is_dir():
        raise ValueError(f"no folder {folder.name}/ in it")
    suffixes = image_file.suffixes()
    images = {}
    for entry in _visible(folder):
        files = _files(entry, ())
        images[entry.name] = [file for file in files if file.suffix.lower() in suffixes]
        others += (file for file in files if file.suffix.lower() not in suffixes)
        if not entry.is_dir():  # a file beside the folders of the classes
            others += images.pop(entry.name)
    return images


def _files(entry: os.DirEntry[str], above: tuple[str, ...]) -> list[pathlib.Path]:
    """The file itself, or all that are below a folder, sorted."""
    if not entry.is_dir():
        if entry.is_symlink() and not os.path.exists(entry):
            raise ValueError(f"{entry.path}: is a link to {os.readlink(entry)}, which is missing")
        return [pathlib.Path(entry.path)]
    if (real := os.path.realpath(entry)) in above:
        raise ValueError(f"{entry.path}: is a link to a folder that it lies in")
    return [file for child in _visible(entry) for file in _files(child, (*above, real))]


def _visible(folder: os.PathLike[str]) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        visible = [
            entry
            for entry in entries
            if not entry.name.startswith(".") and entry.name.lower() not in _OF_THE_SYSTEM
        ]
    return sorted(visible, key=lambda entry: entry.name)


def _classes(
    train: dict[str, list[pathlib.Path]], test: dict[str, list[pathlib.Path]], left_out: str
) -> tuple[str, ...]:
    but = f" ({left_out})" if left_out else ""
    classes = sorted(train.keys() | test.keys())
    for part, images in (("train", train), ("test", test)):
        if not any(images.values()):
            raise ValueError(f"no images in {part}/CLASS/{but}")
    for part, images in (("train", train), ("test", test)):
        if missing := [label for label in classes if not images.get(label)]:
            raise ValueError(f"no images in {part}/ of class {', '.join(missing)}{but}")
    if len(classes) < 2:
        raise ValueError(
            f"classes: must be at least 2 folders in train/ and in test/, got 1 ({classes[0]})"
        )
    return tuple(classes)


def _left_out(others: Sequence[pathlib.Path], root: pathlib.Path) -> str:
    if not others:
        return ""
    files = "1 file" if len(others) == 1 else f"{len(others):,} files"
    example = others[0].relative_to(root)
    return f"left out {files}, no images that Pillow reads or in no class folder, such as {example}"


def _flat(by_class: dict[str, list[pathlib.Path]]) -> list[pathlib.Path]:
    return [file for files in by_class.values() for file in files]


def _decode(
    train: dict[str, list[pathlib.Path]],
    test: dict[str, list[pathlib.Path]],
    size: int | None,
    name: str,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Images and labels of both splits, class by class."""

    def read(path: pathlib.Path) -> np.ndarray:
        try:
            return image_file.read(path, size)
        except ValueError as error:
            raise ValueError(f"dataset {name}: image {path} cannot be read: {error}") from error

    paths = [*_flat(train), *_flat(test)]
    images = None
    with concurrent.futures.ThreadPoolExecutor() as pool:
        for i, image in enumerate(pool.map(read, paths)):
            if images is None:
                images, first = np.empty((len(paths), *image.shape), np.uint8), paths[i]
            if image.shape != images.shape[1:]:
                raise ValueError(
                    f"image_size: must be given where images differ in size, got"
                    f" {_pixels(images[0])} in {first} and {_pixels(image)} in {paths[i]}"
                )
            images[i] = image
    assert images is not None
    count = len(_flat(train))
    return images[:count], _labels(train), images[count:], _labels(test)


def _labels(by_class: dict[str, list[pathlib.Path]]) -> np.ndarray:
    counts = [len(files) for files in by_class.values()]
    return np.repeat(np.arange(len(counts), dtype=np.int32), counts)


def _pixels(image: np.ndarray) -> str:
    return f"{image.shape[1]}x{image.shape[0]} pixels"
