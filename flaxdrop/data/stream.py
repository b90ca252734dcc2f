"""Batches of images that are read and augmented on the host while a network trains, by Grain.

A batch depends on the cell's key and the step alone: it is the same for any number of threads and
processes, and a training that resumes at a step has no position to restore.
"""

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np

from flaxdrop.data.file_images import FileImages
from flaxdrop.data.order import HostOrder

_AHEAD = 2  # batches that each thread or process has ready

Batch = tuple[np.ndarray, np.ndarray]


@dataclasses.dataclass(frozen=True, eq=False)
class TrainingBatches:
    """Step -> its images and labels, before what is done with them on the device.

    It may go to another process.

    Attributes:
      images: all those to train on.
      labels: int32 [N].
      subset: places of those that the cell is trained on; None: all.
      order: of the examples.
      words: what the views of photos are drawn from, with the place of an example.
      batch: examples a step.
      steps_per_epoch: steps.
    """

    images: FileImages
    labels: np.ndarray
    subset: np.ndarray | None
    order: HostOrder
    words: tuple[int, ...]
    batch: int
    steps_per_epoch: int

    def __call__(self, step: int) -> Batch:
        """Reads a batch: x uint8 [batch, side, side, 3] and y int32 [batch]."""
        epoch, in_epoch = divmod(int(step), self.steps_per_epoch)
        places = in_epoch * self.batch + np.arange(self.batch)
        examples = self.order.examples(epoch, places)
        if self.subset is not None:
            examples = self.subset[examples]
        first = int(step) * self.batch
        # NumPy promises the stream of RandomState for ever, not that of its successor.
        x = [
            self.images.read(example, np.random.RandomState([*self.words, first + i]))
            for i, example in enumerate(examples)
        ]
        return np.stack(x), self.labels[examples]


@dataclasses.dataclass(frozen=True, eq=False)
class TestBatches:
    """Batch -> test images and labels; the last batch is filled up with the last example.

    Attributes:
      images: all test images.
      labels: int32 [M].
      batch: examples of each.
    """

    images: FileImages
    labels: np.ndarray
    batch: int

    def __call__(self, number: int) -> Batch:
        """Reads a batch: x uint8 [batch, side, side, 3] and y int32 [batch]."""
        places = np.minimum(int(number) * self.batch + np.arange(self.batch), len(self.labels) - 1)
        return np.stack([self.images.read(place) for place in places]), self.labels[places]


def stream(batches: Any, start: int, end: int, threads: int, workers: int = 0) -> Iterator[Batch]:
    """The batches from `start` to `end`, in order, read ahead.

    Args:
      batches: number -> batch.
      start: the first.
      end: behind the last.
      threads: that read, in this process; where there are workers, in each of them.
      workers: processes that read; 0: this one does.

    Raises:
      ValueError: Grain is not installed, or an image cannot be read.
    """
    try:
        import grain  # optional
    except ImportError:
        raise ValueError(
            'grain: must be installed to read images while training; pip install ".[images]"'
        ) from None
    options = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=_AHEAD * threads)
    # Whole batches are what is read ahead: their order cannot depend on who reads them.
    found = grain.MapDataset.range(start, end).map(batches).to_iter_dataset(options)
    if workers:
        _mark_flags_as_parsed()
        found = found.mp_prefetch(grain.MultiprocessingOptions(workers, _AHEAD))
    iterator = iter(found)
    try:
        for x, y in iterator:
            # A copy: the shared memory of another process goes back at once.
            yield (np.array(x), np.array(y)) if workers else (x, y)
    finally:
        iterator.close()


def _mark_flags_as_parsed() -> None:
    # Grain's processes read the flags of absl, which a program of another kind never parsed.
    from absl import flags

    if not flags.FLAGS.is_parsed():
        flags.FLAGS.mark_as_parsed()
