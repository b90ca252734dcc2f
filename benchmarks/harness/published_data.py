"""What is known of the published datasets without having them."""

import numpy as np

from flaxdrop.data.dataset import Dataset

# Name -> digest of the published images (`Dataset.digest`): a file of other content that has the
# same name does not count.
PUBLISHED = {
    "cifar10": "c72ff7786d47632ad888fe907523bb46",
    "cifar100": "1136ab6a3cd49563fa77ac8757088182",
}
_TRAIN, _TEST, _SIDE = 50_000, 10_000, 32


def stand_in(name: str, image_size: int = 0, test_examples: int = 0) -> Dataset:
    """A dataset of the size of a published one; all its images are one image of noise.

    Args:
      name: "cifar10" or "cifar100".
      image_size: side in pixels; 0: as published.
      test_examples: how many; 0: all.

    >>> stand_in("cifar10").describe(1000)[:46]
    'cifar10: 1,000 of 50,000 examples to train, 10'
    """
    classes = int(name.removeprefix("cifar"))
    side = image_size or _SIDE
    image = np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8)

    def images(count: int) -> tuple[np.ndarray, np.ndarray]:
        # One image that is shown many times takes the memory of one.
        labels = (np.arange(count) % classes).astype(np.int32)
        return np.broadcast_to(image, (count, *image.shape)), labels

    train, test = images(_TRAIN), images(test_examples or _TEST)
    names = tuple(map(str, range(classes)))
    return Dataset(name, *train, *test, names, whole_digest=PUBLISHED[name])
