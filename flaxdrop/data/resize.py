"""Images made square and of one size, the same way for every source."""

import dataclasses

import numpy as np
from PIL import Image, ImageOps

from flaxdrop.data.dataset import Dataset
from flaxdrop.memory import check_fits


def square(image: Image.Image, size: int) -> Image.Image:
    """The centre of an image, `size` x `size` pixels: shorter side to `size`, rest cropped.

    Bilinear, antialiased when shrinking.

    >>> square(Image.new("RGB", (40, 30)), 16).size
    (16, 16)
    """
    return ImageOps.fit(image, (size, size), Image.Resampling.BILINEAR)


def resize(dataset: Dataset, size: int) -> Dataset:
    """The dataset with images of `size` x `size` pixels and as many channels as before.

    Raises:
      ValueError: they do not fit into memory.
    """
    if dataset.image_shape[:2] == (size, size):
        return dataset
    images = len(dataset.x_train) + len(dataset.x_test)
    # Here, and as a device has them.
    check_fits("image_size", 2 * images * size**2 * dataset.image_shape[-1], "the images")
    return dataclasses.replace(
        dataset,
        x_train=_resize(dataset.x_train, size),
        x_test=_resize(dataset.x_test, size),
        whole_digest=dataset.digest,
    )


def _resize(x: np.ndarray, size: int) -> np.ndarray:
    n, _, _, channels = x.shape
    resized = np.empty((n, size, size, channels), np.uint8)
    for i in range(n):
        for channel in range(channels):  # apart: Pillow has no image of an arbitrary number of them
            plane = Image.fromarray(x[i, :, :, channel])
            resized[i, :, :, channel] = np.asarray(square(plane, size))
    return resized
