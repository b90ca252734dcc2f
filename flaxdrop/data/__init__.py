"""Images for training: sources, a cache of what is decoded, augmentation on the device."""

from flaxdrop.data import digits, folder, npz, tfds
from flaxdrop.data.dataset import Dataset
from flaxdrop.data.resize import resize

__all__ = ["Dataset", "load"]


def load(
    spec: str,
    *,
    image_size: int | None = None,
    data_dir: str | None = None,
    test_examples: int | None = None,
) -> Dataset:
    """Loads a dataset by its name.

    Args:
      spec: `digits`, `cifar10`, `cifar100`, `npz:FILE` or `folder:DIR`.
      image_size: pixels; images are brought to image_size x image_size. None keeps them as they
        are; those of a folder must then all be of one size.
      data_dir: of tensorflow-datasets; default $TFDS_DATA_DIR, or ~/tensorflow_datasets. A file
        `cifar10.npz` or `cifar100.npz` in it is read in its stead.
      test_examples: a fixed, balanced part of the test set (`Dataset.first`); None: all.

    Raises:
      ValueError: an unknown dataset, one that cannot be had, or one that is not as it must be.

    >>> load("digits").image_shape
    (8, 8, 1)
    """
    if image_size is not None and image_size < 1:
        raise ValueError(f"image_size: must be at least 1, got {image_size}")
    source, _, path = spec.partition(":")
    if source == "folder" and path:
        dataset = folder.load(path, image_size)
    elif spec == "digits":
        dataset = digits.load()
    elif spec in tfds.NAMES:
        dataset = tfds.load(spec, data_dir)
    elif source == "npz" and path:
        dataset = npz.load(path)
    else:
        raise ValueError(
            f"dataset: must be digits, cifar10, cifar100, npz:FILE or folder:DIR, got {spec!r}"
        )
    dataset = dataset.first(None, test_examples)
    return dataset if image_size is None else resize(dataset, image_size)
