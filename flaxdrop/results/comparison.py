"""Rows of the ledger by variant: their accuracies, effects against a baseline and the null.

The numbers behind both the table and the plots.
"""

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from flaxdrop.results.ledger import Row
from flaxdrop.results.statistics import Null, Paired, holm, null_noise, paired

CONFIDENCE = 0.95
# The last epoch's accuracy leads: the best one is chosen on the test set itself.
MEASURES = ("last", "best")


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What the cells of one variant gave.

    accuracy: measure (`last`, `best`) to seed to test accuracy in percent, finished cells only.
    nll: seed to negative log-likelihood on the test set after the last epoch, nats.
    ece: seed to expected calibration error, likewise, in [0, 1].
    gap: seed to training accuracy (with its dropout) minus test accuracy, last epoch, points.
    diverged: number of cells that diverged; they are in no other number.
    at_chance: number of finished cells that are no better than guessing; they are in all numbers.
    seconds: median wall time of a finished cell; NaN when none tells it.
    """

    variant: str
    accuracy: Mapping[str, Mapping[int, float]]
    nll: Mapping[int, float]
    ece: Mapping[int, float]
    gap: Mapping[int, float]
    diverged: int
    at_chance: int
    seconds: float

    @property
    def n(self) -> int:
        """Number of finished cells."""
        return len(self.accuracy["last"])


@dataclasses.dataclass(frozen=True)
class Effect:
    """A variant's paired difference to the baseline, in percentage points.

    p_value: Holm's, over the variants of the table.
    noise: what the null alone would give over as many seeds; NaN when there is no null.
    """

    difference: Paired
    p_value: float
    noise: float

    @property
    def stands_out(self) -> bool:
        """Significant, and larger than the noise where it is known."""
        return self.p_value < 1 - CONFIDENCE and not abs(self.difference.mean) <= self.noise


def outcomes(rows: Iterable[Row], order: Sequence[str]) -> list[Outcome]:
    """One outcome a variant that has rows, in `order`; variants that it lacks come last.

    Raises:
      ValueError: rows that differ in the version of the numerics, data or weights; or a variant has
        two rows of one seed, as when two configs are mixed.
    """
    rows = list(rows)
    for name in ("numerics", "data", "weights"):
        if len(found := {getattr(row, name) for row in rows}) > 1:
            raise ValueError(f"rows: must be of one {name}, got {', '.join(map(str, found))}")
    cells: dict[str, dict[int, Row]] = {}
    for row in rows:
        seeds = cells.setdefault(row.variant, {})
        if row.seed in seeds:
            raise ValueError(
                f"rows: two of variant {row.variant} with seed {row.seed}, must be of one config"
            )
        seeds[row.seed] = row
    known = [variant for variant in order if variant in cells]
    return [
        _outcome(variant, cells[variant])
        for variant in known + [variant for variant in cells if variant not in known]
    ]


def effects(
    outcomes: Sequence[Outcome], measure: str, baseline: str, null: Null | None
) -> dict[str, Effect]:
    """Variant to effect, for all but the baseline; none when the baseline has no outcome."""
    accuracy = {outcome.variant: outcome.accuracy[measure] for outcome in outcomes}
    if baseline not in accuracy:
        return {}
    base = accuracy.pop(baseline)
    differences = {v: paired(a, base, CONFIDENCE) for v, a in accuracy.items()}
    p_values = holm([difference.p_value for difference in differences.values()])
    return {
        variant: Effect(difference, p_value, null.noise(difference.n) if null else math.nan)
        for (variant, difference), p_value in zip(differences.items(), p_values, strict=True)
    }


def effects_by_rate(
    rows: Mapping[float, Iterable[Row]],
    measure: str,
    baseline: str,
    nulls: Sequence[tuple[str, str]],
) -> dict[float, dict[str, Effect]]:
    """Rate to `effects`: corrected over the variants of a rate, with the null of that rate.

    rows: rate to the rows of one config.

    Raises:
      ValueError: as `outcomes`.
    """
    found = {rate: outcomes(of, ()) for rate, of in rows.items()}
    return {
        rate: effects(of, measure, baseline, null_of(of, measure, nulls))
        for rate, of in found.items()
    }


def null_of(
    outcomes: Sequence[Outcome], measure: str, pairs: Iterable[tuple[str, str]]
) -> Null | None:
    """The null of those `pairs` that share a finished seed, named `a - b`; None without any."""
    accuracy = {outcome.variant: outcome.accuracy[measure] for outcome in outcomes}
    run = {
        f"{a} - {b}": (accuracy[a], accuracy[b])
        for a, b in pairs
        if accuracy.get(a, {}).keys() & accuracy.get(b, {}).keys()
    }
    return null_noise(run, CONFIDENCE) if run else None


def _outcome(variant: str, cells: Mapping[int, Row]) -> Outcome:
    finished = {seed: row for seed, row in cells.items() if row.status == "finished"}
    seconds = [row.wall_seconds for row in finished.values() if math.isfinite(row.wall_seconds)]
    return Outcome(
        variant=variant,
        accuracy={
            "last": {seed: 100 * row.last_accuracy for seed, row in finished.items()},
            "best": {seed: 100 * row.best_accuracy for seed, row in finished.items()},
        },
        nll={seed: row.last_nll for seed, row in finished.items()},
        ece={seed: row.last_ece for seed, row in finished.items()},
        gap={seed: 100 * _gap(row) for seed, row in finished.items()},
        diverged=len(cells) - len(finished),
        at_chance=sum(row.at_chance for row in finished.values()),
        seconds=float(np.median(seconds)) if seconds else math.nan,
    )


def _gap(row: Row) -> float:
    return row.curve["train_accuracy"][-1] - row.curve["test_accuracy"][-1]
