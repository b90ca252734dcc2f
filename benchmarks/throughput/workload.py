"""The workload of all contestants: a network, its batch, and examples of the size of CIFAR's."""

import dataclasses

import numpy as np

from benchmarks.harness.arguments import Flag
from benchmarks.harness.precision import PRECISIONS

EXAMPLES = 50_000
CLASSES = 100
RATE = 0.1
MEAN, STD = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)
CROP = 4


@dataclasses.dataclass(frozen=True)
class Workload:
    """What is trained.

    Attributes:
      depth: of the PreResNet; None for the VGG-like network.
      batch: examples a step.
      augmented: whether the examples are cropped and mirrored.
    """

    depth: int | None
    batch: int
    augmented: bool

    @property
    def blocks(self) -> int:
        """The number of blocks in each stage of the PreResNet."""
        assert self.depth is not None
        return (self.depth - 2) // 6


WORKLOADS = {
    "preresnet20": Workload(20, 128, augmented=True),
    "preresnet110": Workload(110, 128, augmented=True),
    "vgg": Workload(None, 64, augmented=False),
}


def examples(count: int = EXAMPLES, side: int = 32) -> tuple[np.ndarray, np.ndarray]:
    """Makes examples of noise: speed does not depend on what they show.

    Args:
      count: N.
      side: of the images, in pixels.

    Returns:
      Images uint8 `[N, side, side, 3]`, labels int32 `[N]`.
    """
    random = np.random.default_rng(0)
    x = random.integers(0, 256, (count, side, side, 3), np.uint8)
    return x, random.integers(0, CLASSES, count).astype(np.int32)


# What every contestant takes.
FLAGS = (
    Flag("workload", "preresnet20", "the network that is trained", tuple(WORKLOADS)),
    Flag("rate", RATE, "the rate of the dropout"),
    Flag("fixed_batch", False, "leave out the data pipeline"),
    Flag("precision", "float32", "the precision of products", PRECISIONS),
    Flag("seconds", 2.0, "how long a round lasts, about"),
)
