"""Images for training: sources, a cache of what is decoded, augmentation on the device."""

import math

from flaxdrop.data import digits, folder, npz, tfds
from flaxdrop.data.dataset import Dataset
from flaxdrop.data.resize import resize

__all__ = ["Dataset", "load"]

# Folders of published images, by the names of tensorflow-datasets: those of the first two have the
# folders of the classes, that of the third has train/ and test/.
NAMED = {"caltech101": "split", "oxford_iiit_pet": "split", "imagenet2012": "folder"}
_FINDERS = {"folder": folder.find, "split": folder.find_unsplit}


def load(
    spec: str,
    *,
    image_size: int | None = None,
    data_dir: str | None = None,
    test_examples: int | None = None,
    most_bytes: float = math.inf,
    form: str = "square",
) -> Dataset:
    """Loads a dataset by its name.

    Args:
      spec: `digits`, `cifar10`, `cifar100`, `npz:FILE`, `folder:DIR`, `split:DIR`, or a name in
        `NAMED`, a folder in `data_dir`.
      image_size: pixels; images are brought to image_size x image_size. None keeps them as they
        are; those of a folder must then all be of one size.
      data_dir: of tensorflow-datasets; default $TFDS_DATA_DIR, or ~/tensorflow_datasets. A file
        `cifar10.npz` or `cifar100.npz` in it is read in its stead.
      test_examples: a fixed, balanced part of the test set (`Dataset.first`); None: all.
      most_bytes: image files that are more than that, decoded, stay in their files, and each is
        read when it is used (`FileImages`).
      form: of the images; "photo": as in `flaxdrop.data.photo`, from files, read when used.

    Raises:
      ValueError: an unknown dataset, one that cannot be had, or one that is not as it must be.

    >>> load("digits").image_shape
    (8, 8, 1)
    """
    if image_size is not None and image_size < 1:
        raise ValueError(f"image_size: must be at least 1, got {image_size}")
    source, _, path = spec.partition(":")
    if spec in NAMED:
        source, path = NAMED[spec], str(tfds.root(data_dir) / spec)
    is_photo = form == "photo"
    if source in _FINDERS and path:
        files = _FINDERS[source](path, spec if spec in NAMED else "")
        count = len(files.train) + len(files.test)
        if is_photo or (image_size and count * 3 * image_size**2 > most_bytes):
            if image_size is None:
                raise ValueError("image_size: must be given for photos, got 0")
            dataset = files.while_training(image_size, form)
        else:
            dataset = files.decode(image_size)
        return dataset.first(None, test_examples)
    if is_photo:
        raise ValueError(
            f"augmentation: photo needs image files, as of {', '.join(NAMED)}, folder:DIR or"
            f" split:DIR, got {spec!r}"
        )
    if spec == "digits":
        dataset = digits.load()
    elif spec in tfds.NAMES:
        dataset = tfds.load(spec, data_dir)
    elif source == "npz" and path:
        dataset = npz.load(path)
    else:
        raise ValueError(
            f"dataset: must be digits, cifar10, cifar100, {', '.join(NAMED)}, npz:FILE,"
            f" folder:DIR or split:DIR, got {spec!r}"
        )
    dataset = dataset.first(None, test_examples)
    return dataset if image_size is None else resize(dataset, image_size)
