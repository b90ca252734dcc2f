"""What everybody trains: a network, its batch and examples of the size of CIFAR's."""

import argparse
import dataclasses

import numpy as np

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
        """In each stage of the PreResNet."""
        assert self.depth is not None
        return (self.depth - 2) // 6


WORKLOADS = {
    "preresnet20": Workload(20, 128, augmented=True),
    "preresnet110": Workload(110, 128, augmented=True),
    "vgg": Workload(None, 64, augmented=False),
}


def examples(count: int = EXAMPLES, side: int = 32) -> tuple[np.ndarray, np.ndarray]:
    """Of noise, for speed does not depend on it.

    Args:
      count: N.
      side: of the images, in pixels.

    Returns:
      Images uint8 `[N, side, side, 3]`, labels int32 `[N]`.
    """
    random = np.random.default_rng(0)
    x = random.integers(0, 256, (count, side, side, 3), np.uint8)
    return x, random.integers(0, CLASSES, count).astype(np.int32)


def parser(description: str) -> argparse.ArgumentParser:
    """The arguments that all contestants take."""
    made = argparse.ArgumentParser(description=description)
    made.add_argument("--workload", choices=WORKLOADS, default="preresnet20")
    made.add_argument("--rate", type=float, default=RATE, help="of the dropout")
    made.add_argument("--fixed_batch", action="store_true", help="leave out the data pipeline")
    made.add_argument("--precision", choices=PRECISIONS, default="float32")
    made.add_argument("--seconds", type=float, default=2.0, help="that a round lasts, about")
    return made
