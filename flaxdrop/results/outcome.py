"""What the cells of one variant gave, by measure and seed."""

import dataclasses
import math
from collections.abc import Mapping

import numpy as np

from flaxdrop.results.ledger import Row

LOG = "ln "  # before the name of what a study measures, where its logarithm is compared


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What the cells of one variant gave; finished cells only, unless told otherwise.

    Attributes:
      variant: its name.
      values: measure -> seed -> value; accuracies in percent of the test set, the negative
        log-likelihood in nats, logarithms of what was measured.
      ece: seed -> expected calibration error of the judged epochs, in [0, 1].
      train: seed -> accuracy on the training images in the last epoch, with dropout, in percent.
      right: seed -> f32 `[images]`, which test images were right; empty where a row has none.
      diverged: number of cells that diverged; they are in no other number.
      at_chance: number of finished cells that are no better than guessing; they are in all numbers.
      seconds: median wall time of a cell; NaN when none tells it.
    """

    variant: str
    values: Mapping[str, Mapping[int, float]]
    ece: Mapping[int, float]
    train: Mapping[int, float]
    right: Mapping[int, np.ndarray]
    diverged: int
    at_chance: int
    seconds: float

    @property
    def n(self) -> int:
        """Number of finished cells."""
        return len(self.values["accuracy"])

    @property
    def gap(self) -> dict[int, float]:
        """Seed -> training accuracy (with dropout) minus test accuracy, points."""
        return {seed: self.train[seed] - test for seed, test in self.values["accuracy"].items()}


def make_outcome(variant: str, cells: Mapping[int, Row]) -> Outcome:
    """Gathers what the cells of a variant gave.

    Args:
      variant: its name.
      cells: seed -> row.
    """
    finished = {seed: row for seed, row in cells.items() if row.status == "finished"}
    seconds = [row.wall_seconds for row in finished.values() if math.isfinite(row.wall_seconds)]
    return Outcome(
        variant=variant,
        values={
            "accuracy": {seed: 100 * row.judged("test_accuracy") for seed, row in finished.items()},
            "best": {seed: 100 * row.best_accuracy for seed, row in finished.items()},
            "nll": {seed: row.judged("test_nll") for seed, row in finished.items()},
            **_logarithms(finished),
        },
        ece={seed: row.judged("test_ece") for seed, row in finished.items()},
        train={seed: 100 * row.curve["train_accuracy"][-1] for seed, row in finished.items()},
        right={
            seed: row.right_examples.mean(axis=0, dtype=np.float32)
            if len(row.right)
            else np.zeros(0, np.float32)
            for seed, row in finished.items()
        },
        diverged=len(cells) - len(finished),
        at_chance=sum(row.at_chance for row in finished.values()),
        seconds=float(np.median(seconds)) if seconds else math.nan,
    )


def _logarithms(cells: Mapping[int, Row]) -> dict[str, dict[int, float]]:
    found: dict[str, dict[int, float]] = {}
    for seed, row in cells.items():
        for name, value in row.measured.items():
            if value > 0:
                found.setdefault(LOG + name, {})[seed] = math.log(value)
    return found
