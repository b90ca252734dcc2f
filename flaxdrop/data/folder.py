"""Image files: `folder:DIR`, which has train/ and test/, and in each a folder a class.

`split:DIR` has the folders of the classes alone, and is split here.
"""

import concurrent.futures
import dataclasses
import functools
import logging
import os
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from flaxdrop.data import cache, image_file
from flaxdrop.data.dataset import Dataset
from flaxdrop.data.file_images import FileImages
from flaxdrop.data.resize import square
from flaxdrop.data.source_digest import source_digest

_TRAIN, _TEST = 0.7, 0.15  # of all images: Kim et al. 2023, for Pets and Caltech-101

# What systems write beside pictures without being asked. Hidden files begin with a dot.
_OF_THE_SYSTEM = frozenset(("thumbs.db", "desktop.ini", "__macosx", "@eadir"))


@dataclasses.dataclass(frozen=True, eq=False)
class ImageFiles:
    """Labelled image files of a training and a test split, none of them read yet.

    Attributes:
      name: what the dataset is called in messages.
      train: the files to train on, class by class.
      y_train: int32, the label of each.
      test: the files to test on, class by class.
      y_test: int32, the label of each.
      classes: the name of each label.
      digest: of the contents and the places of all files.
    """

    name: str
    train: list[pathlib.Path]
    y_train: np.ndarray
    test: list[pathlib.Path]
    y_test: np.ndarray
    classes: tuple[str, ...]
    digest: str

    def decode(self, image_size: int | None) -> Dataset:
        """Reads all images as RGB and keeps them decoded.

        Args:
          image_size: pixels: the shorter side is brought to it, the centre is kept. None: the
            images stay as they are, and must all be of one size.

        Raises:
          ValueError: an image that cannot be read; images of several sizes without `image_size`.
        """

        def decode() -> Dataset:
            pixels = _decode([*self.train, *self.test], image_size, self.name)
            count = len(self.train)
            arrays = (pixels[:count], self.y_train, pixels[count:], self.y_test)
            return Dataset(self.name, *arrays, self.classes)

        key = f"folder-{image_size}-{cache.DECODER}-{self.digest}"
        return cache.cached(key, self.name, decode)

    def while_training(self, side: int, form: str) -> Dataset:
        """The same images, each read when it is used (`FileImages`).

        Args:
          side: in pixels, of what is made of them.
          form: how it is made, one of `flaxdrop.data.file_images.FORMS`.
        """

        def images(files: list[pathlib.Path]) -> Any:
            return FileImages.of(files, side, form, self.name)

        arrays = (images(self.train), self.y_train, images(self.test), self.y_test)
        return Dataset(self.name, *arrays, self.classes, whole_digest=self.digest)


def find(path: str, name: str = "") -> ImageFiles:
    """Finds the images of `folder:DIR`.

    A class is a folder in train/ and in test/; its images may lie in folders within it. Classes and
    files are taken in the order of their names. An image is a file whose ending is that of a format
    which the installed Pillow reads. A warning counts the other files; hidden ones are left out
    without a word.

    Args:
      path: the folder; a leading ~ is the home folder.
      name: of the dataset, for messages; empty: with the path.

    Raises:
      ValueError: no such folder, or a file such as a .zip; no train/ or test/, no images, one class
        only, or one that is not in both train/ and test/.
    """
    return _found(name or f"folder:{path}", path, _in_two_folders)


def find_unsplit(path: str, name: str = "") -> ImageFiles:
    """Finds the images of `split:DIR`: a folder a class, of which 15 % are the test.

    All images, in the order of their places, are permuted once and for all; the first 70 % train,
    the last 15 % test, those between are left out: Kim et al. 2023 choose an epoch by them. Their
    shares and their seed, 0, are known, the order that they permute is not.

    Args:
      path: the folder; a leading ~ is the home folder.
      name: of the dataset, for messages; empty: with the path.

    Raises:
      ValueError: as `find`.
    """
    return _found(name or f"split:{path}", path, _in_one_folder)


ByClass = dict[str, list[pathlib.Path]]


def _found(
    name: str,
    path: str,
    split: Callable[[pathlib.Path, list[pathlib.Path]], tuple[ByClass, ByClass]],
) -> ImageFiles:
    root = pathlib.Path(path).expanduser()
    others: list[pathlib.Path] = []
    try:
        if not root.is_dir():
            reason = "no such folder" if str(root) in name else f"no folder {root}"
            if root.exists():
                reason = "is a file, unpack it and give the folder"
            raise ValueError(reason)
        train, test = split(root, others)
        classes = _classes(train, test, _left_out(others, root))
        digest = source_digest(root, [*_flat(train), *_flat(test)])
    except ValueError as error:
        raise ValueError(f"dataset {name}: {error}") from None
    except OSError as error:
        raise ValueError(f"dataset {name}: {error.filename}: {error.strerror}") from None
    if others:
        logging.getLogger(__name__).warning("dataset %s: %s", name, _left_out(others, root))
    splits = (_flat(train), _labels(train), _flat(test), _labels(test))
    return ImageFiles(name, *splits, classes, digest)


def _in_two_folders(root: pathlib.Path, others: list[pathlib.Path]) -> tuple[ByClass, ByClass]:
    for part in ("train", "test"):
        if not (root / part).is_dir():
            raise ValueError(f"no folder {part}/ in it")
    return _by_class(root / "train", others), _by_class(root / "test", others)


def _in_one_folder(root: pathlib.Path, others: list[pathlib.Path]) -> tuple[ByClass, ByClass]:
    images = _by_class(root, others)
    every = [(label, file) for label, files in images.items() for file in files]
    order = np.random.RandomState(0).permutation(len(every))
    test, train = int(_TEST * len(every)), int(_TRAIN * len(every))

    def by_class(places: np.ndarray) -> ByClass:
        part: ByClass = {label: [] for label in images}
        for place in np.sort(places):
            label, file = every[place]
            part[label].append(file)
        return part

    return by_class(order[:train]), by_class(order[len(every) - test :])


def _by_class(folder: pathlib.Path, others: list[pathlib.Path]) -> ByClass:
    """The image files of each class of a split, both sorted; `others` gets the other files."""
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


def _classes(train: ByClass, test: ByClass, left_out: str) -> tuple[str, ...]:
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


def _flat(by_class: ByClass) -> list[pathlib.Path]:
    return [file for files in by_class.values() for file in files]


def _decode(paths: Sequence[pathlib.Path], size: int | None, name: str) -> np.ndarray:
    """The images, one after the other, `[len(paths), H, W, 3]`."""
    shape = None if size is None else functools.partial(square, size=size)

    def read(path: pathlib.Path) -> np.ndarray:
        try:
            return image_file.read(path, shape)
        except ValueError as error:
            raise ValueError(f"dataset {name}: image {path} cannot be read: {error}") from error

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
    return images


def _labels(by_class: ByClass) -> np.ndarray:
    counts = [len(files) for files in by_class.values()]
    return np.repeat(np.arange(len(counts), dtype=np.int32), counts)


def _pixels(image: np.ndarray) -> str:
    return f"{image.shape[1]}x{image.shape[0]} pixels"
