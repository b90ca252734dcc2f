"""The race of a network's places, replayed from the ledger: what is known, and what to train next.

What is done next depends on finished rounds alone: a race that was stopped goes on as if it had
not been.
"""

import dataclasses
import re
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from flaxdrop.placement import Placement
from flaxdrop.results import race
from flaxdrop.results.race import Standing
from flaxdrop.results.row import Row

NONE = "none"


@dataclasses.dataclass(frozen=True)
class Arm:
    """A place with a rate.

    Attributes:
      place: a group of the network's places.
      rate: of dropout there.
      variant: its name in the ledger and in paths.
    """

    place: str
    rate: float
    variant: str

    @property
    def placement(self) -> Placement:
        """Dropout there alone."""
        return Placement({self.place: self.rate})

    def __str__(self) -> str:
        return f"{self.place}, rate {self.rate:g}"


def make_arms(places: Sequence[str], rates: Sequence[float]) -> tuple[Arm, ...]:
    """Every place with every rate.

    Args:
      places: groups.
      rates: of dropout.
    """
    arms: dict[str, Arm] = {}
    for place in places:
        word = re.sub(r"[^\w.:-]", "x", place.replace("/", "."))
        for rate in rates:
            name = f"{word}={rate:g}"
            while name in arms:
                name += "+"
            arms[name] = Arm(place, rate, name)
    return tuple(arms.values())


@dataclasses.dataclass(frozen=True)
class Race:
    """What is known of a race.

    Attributes:
      arms: in the order of the network.
      margin: points that an arm must gain to be worth it.
      standing: after the finished rounds.
      base: mean accuracy of `none` over these, percent.
      missing: (variant, seed) of the cells of the next round that are not there.
      cells: how many are.
    """

    arms: tuple[Arm, ...]
    margin: float
    standing: Standing
    base: float
    missing: tuple[tuple[str, int], ...]
    cells: int

    @property
    def finished(self) -> bool:
        """Where dropout goes is known."""
        return bool(self.standing.finished)

    @property
    def by_effect(self) -> list[int]:
        """Numbers of the arms, the largest measured effect first."""
        effects = np.nan_to_num(self.standing.effect, nan=-np.inf)
        return [int(i) for i in np.argsort(-effects, kind="stable")]

    @property
    def best(self) -> int | None:
        """Number of the arm that is better than `none` and ahead; None: no arm is known to be."""
        kept = (race.RACING, race.SMALL)
        found = [
            i
            for i in self.by_effect
            if self.standing.low[i] > 0 and self.standing.status[i] in kept
        ]
        return found[0] if found else None


def replay(
    arms: tuple[Arm, ...], rows: Iterable[Row], *, margin: float, seeds: int, first: Sequence[int]
) -> Race:
    """Runs a race over the rows that are there.

    Args:
      arms: of the race.
      rows: of its cells.
      margin: points that an arm must gain to be worth it.
      seeds: how many an arm may get.
      first: numbers of the arms in the order to train the first round in.

    Raises:
      ValueError: a cell without dropout diverged.
    """
    rows = list(rows)
    accuracy = {
        (row.variant, row.seed): 100 * row.judged("test_accuracy")
        if row.status == "finished"
        else np.nan
        for row in rows
    }
    standing = race.begin(len(arms))
    missing: list[tuple[str, int]] = []
    while not standing.finished and standing.rounds < seeds:
        seed = standing.rounds
        order = first if not seed else np.argsort(-standing.effect, kind="stable")
        left = [arms[i].variant for i in order if standing.racing[i]]
        missing = [(name, seed) for name in (NONE, *left) if (name, seed) not in accuracy]
        if missing:
            break
        if np.isnan(accuracy[NONE, seed]):
            raise ValueError(f"learning_rate: must be lower, none diverged with seed {seed}")
        names = (NONE, *(arm.variant for arm in arms))
        values = np.array([accuracy.get((name, seed), np.nan) for name in names])
        standing = race.advance(standing, values, margin)
    return Race(
        arms,
        margin,
        standing,
        float(standing.values[:, 0].mean()) if standing.rounds else float("nan"),
        tuple(missing),
        len(rows),
    )


def order_of_ranking(arms: Sequence[Arm], shifts: Mapping[str, float]) -> list[int]:
    """Numbers of the arms: those of the places that shift least first, a rate after the other.

    Args:
      arms: of a race.
      shifts: place -> shift of the norms; empty: not known.
    """
    rates = list(dict.fromkeys(arm.rate for arm in arms))
    return sorted(
        range(len(arms)),
        key=lambda i: (rates.index(arms[i].rate), shifts.get(arms[i].place, 0.0)),
    )
