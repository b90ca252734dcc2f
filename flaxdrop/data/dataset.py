"""A labelled set of images in memory, checked once."""

import dataclasses
import functools
from typing import NoReturn

import numpy as np

from flaxdrop.data.digest import arrays_digest

_CHANNELS = (1, 3, 4)


@dataclasses.dataclass(frozen=True, eq=False)
class Dataset:
    """Images and labels of a training and a test split.

    Attributes:
      name: what the dataset is called in messages.
      x_train: uint8 [N, H, W, C], pixels 0..255; or what stands where such an array does, images
        that are read when they are used (`flaxdrop.data.file_images`).
      y_train: int32 [N], labels 0..num_classes-1.
      x_test: uint8 [M, H, W, C], of the same image shape.
      y_test: int32 [M].
      classes: the name of each label, [num_classes].
      whole_digest: the digest of the whole dataset that this is a part of, or a resized copy
        of; empty: this is the whole one.

    Raises:
      ValueError: an array whose dtype, shape, length or labels do not fit; the message names it.

    >>> x = np.zeros((4, 8, 8, 1), np.uint8)
    >>> y = np.array([0, 1, 0, 1], np.int32)
    >>> data = Dataset("tiny", x, y, x, y, classes=("zero", "one"))
    >>> data.num_classes, data.image_shape
    (2, (8, 8, 1))
    """

    name: str
    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    classes: tuple[str, ...]
    whole_digest: str = ""

    def __post_init__(self) -> None:
        if not self.classes:
            self._refuse("classes", "be at least one name", "none")
        for split in ("train", "test"):
            self._check_split(split)
        train, test = (_shape(x.shape[1:]) for x in (self.x_train, self.x_test))
        if train != test:
            self._refuse("x_test", f"have images of the shape of x_train, {train}", test)

    def _check_split(self, split: str) -> None:
        x, y = getattr(self, f"x_{split}"), getattr(self, f"y_{split}")
        images, labels = f"x_{split}", f"y_{split}"
        if x.dtype != np.uint8:
            self._refuse(images, "be uint8, pixels 0..255", x.dtype)
        if x.ndim != 4:
            self._refuse(images, "be [N, H, W, C]", _shape(x.shape))
        if x.size == 0:
            self._refuse(images, "have at least one pixel", _shape(x.shape))
        if _is_channels_first(x.shape):
            shape = f"{_shape(x.shape)}: transpose(0, 2, 3, 1)"
            self._refuse(images, "be [N, H, W, C]", shape)
        if y.dtype != np.int32:
            self._refuse(labels, "be int32", y.dtype)
        if y.shape != x.shape[:1]:
            self._refuse(labels, f"be {_shape(x.shape[:1])}, a label an image", _shape(y.shape))
        if y.min() < 0 or y.max() >= self.num_classes:
            self._refuse(labels, f"be labels 0..{self.num_classes - 1}", f"{y.min()} to {y.max()}")

    def _refuse(self, field: str, wanted: str, got: object) -> NoReturn:
        raise ValueError(f"dataset {self.name}: {field}: must {wanted}, got {got}")

    def check_learnable(self) -> "Dataset":
        """Returns the dataset, if it has classes to tell apart and the test has no other ones.

        Raises:
          ValueError: one class only, or a test label that no training example has.
        """
        trained = np.unique(self.y_train)
        if len(trained) < 2:
            one = f"1 ({self.classes[trained[0]]})"
            self._refuse("y_train", "have at least 2 classes", one)
        if len(unknown := np.setdiff1d(self.y_test, trained)):
            names = ", ".join(_label(label, self.classes[label]) for label in unknown[:5])
            names += f" and {len(unknown) - 5} more" if len(unknown) > 5 else ""
            self._refuse("y_test", "have no label that y_train lacks", names)
        return self

    def describe(self, drawn: int) -> str:
        """Describes the data in one line: examples, classes, shape and range of pixels.

        Args:
          drawn: how many of the training examples a network sees.
        """
        part = "" if drawn == len(self.x_train) else f"{drawn:,} of "
        pixels = "read while training"
        if isinstance(self.x_train, np.ndarray):
            smallest = min(int(x.min()) for x in (self.x_train, self.x_test))
            largest = max(int(x.max()) for x in (self.x_train, self.x_test))
            pixels = f"pixels {smallest}..{largest}"
        return (
            f"{self.name}: {part}{len(self.x_train):,} examples to train,"
            f" {len(self.x_test):,} to test,"
            f" {self.num_classes} classes, {'x'.join(map(str, self.image_shape))},"
            f" {pixels}"
        )

    @property
    def num_classes(self) -> int:
        """The number of classes."""
        return len(self.classes)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """The shape (H, W, C) of an image."""
        height, width, channels = self.x_train.shape[1:]
        return height, width, channels

    @functools.cached_property
    def digest(self) -> str:
        """The digest of the content of the dataset, 32 hexadecimal digits.

        Of images, labels and class names, whole and as decoded: a part (`first`) and a resized copy
        have the digest of the dataset that they come from. The name does not count.
        """
        arrays = (self.x_train, self.y_train, self.x_test, self.y_test)
        return self.whole_digest or arrays_digest(arrays, self.classes)

    def in_own_order(self) -> "Dataset":
        """The same examples in an order that depends on them alone: by pixels, then by label.

        Sources differ in the order that they keep a dataset in, and a subset, an epoch's order and
        so a paired difference would depend on it.
        """
        train, test = _own_order(self.x_train, self.y_train), _own_order(self.x_test, self.y_test)
        return self._taken(train, test, "")

    def first(self, train_examples: int | None, test_examples: int | None) -> "Dataset":
        """A fixed stratified subset, the same for every seed and on every machine.

        A smaller subset lies within a larger one; the examples keep their order. None keeps a
        split whole.

        Raises:
          ValueError: fewer than one example, or more than there are.
        """
        if train_examples is None and test_examples is None:
            return self
        train: np.ndarray | slice = slice(None)
        test: np.ndarray | slice = slice(None)
        if train_examples is not None:
            train = self._part("train_examples", train_examples, self.y_train)
        if test_examples is not None:
            test = self._part("test_examples", test_examples, self.y_test)
        return self._taken(train, test, self.digest)

    def _taken(self, train: np.ndarray | slice, test: np.ndarray | slice, digest: str) -> "Dataset":
        arrays = {
            f"{array}_{split}": getattr(self, f"{array}_{split}")[places]
            for split, places in (("train", train), ("test", test))
            for array in ("x", "y")
        }
        return dataclasses.replace(self, **arrays, whole_digest=digest)

    def drawn(self, examples: int, seed: int) -> np.ndarray:
        """A stratified part of the training set, another for every seed.

        Args:
          examples: how many.
          seed: at least 0.

        Returns:
          Places in the training set, int [examples], ascending.

        Raises:
          ValueError: fewer than one example, or more than there are.
        """
        return self._part("train_examples", examples, self.y_train, seed)

    def _part(self, field: str, examples: int, labels: np.ndarray, *seeds: int) -> np.ndarray:
        if not 1 <= examples <= len(labels):
            raise ValueError(
                f"{field}: must be 1 to {len(labels)}, the examples of {self.name}, got {examples}"
            )
        return np.sort(stratified_order(labels, *seeds)[:examples])


def _shape(shape: tuple[int, ...]) -> str:
    return f"[{', '.join(map(str, shape))}]"


def _label(number: int, name: str) -> str:
    return name if name == str(number) else f"{number} ({name})"


def _is_channels_first(shape: tuple[int, ...]) -> bool:
    """Whether images are [N, C, H, W] beyond doubt; an image of a few pixels may be either."""
    _, first, second, third = shape
    if third in _CHANNELS or first == second:
        return False
    return first in _CHANNELS or first < second == third


def _own_order(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    label = y.astype(">i4").view(np.uint8).reshape(len(y), -1)
    examples = np.concatenate([x.reshape(len(x), -1), label], axis=1)
    return np.argsort(examples.view(f"V{examples.shape[1]}").ravel(), kind="stable")


def stratified_order(labels: np.ndarray, *seeds: int) -> np.ndarray:
    """A random order of the examples of which every beginning is balanced over the classes.

    In the first n examples a class has its share of n, to within one example where the classes are
    of one size; all classes are there as soon as n is at least their number.

    Args:
      labels: int [N], not negative.
      seeds: numbers, at least 0; of others, another order. None: a fixed one.

    Returns:
      int [N], a permutation of 0..N-1.

    >>> order = stratified_order(np.array([0, 0, 0, 0, 1, 1, 1, 1]))
    >>> sorted(int(i) // 4 for i in order[:4])
    [0, 0, 1, 1]
    """
    # RandomState, because numpy promises its stream for ever; that of default_rng may change.
    random = np.random.RandomState([20230206, *seeds] if seeds else 20230206)
    shuffled = random.permutation(len(labels))
    shuffled = shuffled[np.argsort(labels[shuffled], kind="stable")]  # by class, shuffled within it
    counts = np.bincount(labels)
    starts = np.cumsum(counts) - counts
    classes = labels[shuffled]
    rank = np.arange(len(labels)) - starts[classes]
    tie = random.permutation(len(counts))[classes]
    return shuffled[np.lexsort((tie, rank / counts[classes]))]
