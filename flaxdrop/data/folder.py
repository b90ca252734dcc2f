"""Image files: `folder:DIR`, which has train/ and test/, and in each a folder a class."""

import concurrent.futures
import pathlib

import numpy as np
from PIL import Image, ImageOps

from flaxdrop.data import cache
from flaxdrop.data.dataset import Dataset
from flaxdrop.data.resize import square

SUFFIXES = frozenset(
    (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
)


def load(path: str, image_size: int) -> Dataset:
    """Reads all images as RGB, `image_size` x `image_size` pixels, and keeps them decoded.

    Classes and files are taken in the order of their names. Files that are not named like images
    and hidden ones are ignored.

    Args:
        path: the folder; a leading ~ is the home folder.
        image_size: pixels: the shorter side is brought to it, the centre is kept.

    Raises:
        ValueError: no such folder, or a file such as a .zip; no train/ or test/, no images, an
            image that cannot be read, or a class that is not in both train/ and test/.
    """
    name = f"folder:{path}"
    root = pathlib.Path(path).expanduser()
    if not root.is_dir():
        reason = "is a file, unpack it and give the folder" if root.exists() else "no such folder"
        raise ValueError(f"dataset {name}: {reason}")
    files = {split: _files(root / split, name) for split in ("train", "test")}
    classes = sorted(files["train"].keys() | files["test"].keys())
    for part, by_class in files.items():
        if missing := [label for label in classes if not by_class.get(label)]:
            raise ValueError(f"dataset {name}: no images in {part}/ of class {', '.join(missing)}")

    def split(part: str) -> tuple[np.ndarray, np.ndarray]:
        counts = [len(files[part][label]) for label in classes]
        paths = [file for label in classes for file in files[part][label]]
        labels = np.repeat(np.arange(len(classes), dtype=np.int32), counts)
        return _decode(paths, image_size, name), labels

    def decode() -> Dataset:
        return Dataset(name, *split("train"), *split("test"), tuple(classes))

    every = [file for by_class in files.values() for paths in by_class.values() for file in paths]
    return cache.cached(f"folder-{image_size}-{cache.fingerprint(root, every)}", name, decode)


def _files(folder: pathlib.Path, name: str) -> dict[str, list[pathlib.Path]]:
    """The image files of each class of a split, both sorted."""
    if not folder.is_dir():
        raise ValueError(f"dataset {name}: no folder {folder.name}/ in it")
    visible = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    by_class = {path.name: _images(path) for path in visible if path.is_dir()}
    if not any(by_class.values()):
        raise ValueError(f"dataset {name}: no images in {folder.name}/CLASS/")
    return by_class


def _images(folder: pathlib.Path) -> list[pathlib.Path]:
    return sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in SUFFIXES and not path.name.startswith(".")
    )


def _decode(paths: list[pathlib.Path], size: int, name: str) -> np.ndarray:
    def read(path: pathlib.Path) -> np.ndarray:
        try:
            with Image.open(path) as image:
                return np.asarray(square(_rgb(image), size))
        except Exception as error:  # what Pillow raises on damaged bytes is open-ended
            reason = type(error).__name__
            raise ValueError(f"dataset {name}: image {path} cannot be read ({reason})") from error

    decoded = np.empty((len(paths), size, size, 3), np.uint8)
    with concurrent.futures.ThreadPoolExecutor() as pool:
        for i, image in enumerate(pool.map(read, paths)):
            decoded[i] = image
    return decoded


def _rgb(image: Image.Image) -> Image.Image:
    upright = ImageOps.exif_transpose(image)
    if upright.mode.startswith("I;16"):  # convert() would clip 16 bits, not scale them
        return Image.fromarray((np.asarray(upright) >> 8).astype(np.uint8)).convert("RGB")
    if upright.mode == "P":  # a palette may have transparent colours, which Pillow warns of
        upright = upright.convert("RGBA")
    return upright.convert("RGB")
