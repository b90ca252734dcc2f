"""One study at several rates of dropout: one comparison of all, and its table."""

import dataclasses
import functools
from collections.abc import Iterable, Mapping, Sequence

from flaxdrop.results.comparison import MERGED, Comparison, compare, corrected
from flaxdrop.results.effect import Effect
from flaxdrop.results.ledger import Row
from flaxdrop.table import EMPTY, Table

_SIGNIFICANT = " *"


@dataclasses.dataclass(frozen=True)
class RateComparison:
    """The rows of configs that differ in nothing but the rate, compared.

    Attributes:
      joint: of all rates: its networks are called "p6* 0.3".
      rates: from the lowest to the highest.
      networks: those of a single rate, without the baseline.
    """

    joint: Comparison
    rates: tuple[float, ...]
    networks: tuple[str, ...]

    @functools.cached_property
    def effects(self) -> dict[float, dict[str, Effect]]:
        """Rate -> network -> its difference to the baseline, corrected over the networks."""
        base = self.joint.baseline
        return {
            rate: self._compared({name: (at_rate(name, rate), base) for name in self.networks})
            for rate in self.rates
        }

    @functools.cached_property
    def changes(self) -> dict[str, Effect]:
        """Network -> its accuracy at the highest rate minus that at the lowest, corrected.

        The baseline has no part in it.
        """
        low, high = self.rates[0], self.rates[-1]
        return self._compared(
            {name: (at_rate(name, high), at_rate(name, low)) for name in self.networks}
        )

    def _compared(self, pairs: Mapping[str, tuple[str, str]]) -> dict[str, Effect]:
        """The pairs of which both networks have cells."""
        there = {name: pair for name, pair in pairs.items() if all(map(self.joint.has, pair))}
        return corrected({name: self.joint.effect(*pair) for name, pair in there.items()})


def at_rate(network: str, rate: float) -> str:
    """How a network at a rate is called."""
    return f"{network} {rate:g}"


def compare_rates(
    rows: Mapping[float, Iterable[Row]],
    *,
    order: Sequence[str],
    baseline: str,
    same: Sequence[Sequence[str]] = (),
) -> RateComparison:
    """Compares the rows of configs that differ in nothing but their rate.

    The baseline has no dropout: it is one network at all rates, and each of its seeds counts once.

    Args:
      rows: rate -> the rows of its config.
      order: the variants from top to bottom.
      baseline: the variant without dropout.
      same: as in `compare`.

    Raises:
      ValueError: as `compare`.
    """
    rates = tuple(sorted(rows))
    plain: dict[int, Row] = {}
    named: list[Row] = []
    for rate in rates:
        for row in rows[rate]:
            if row.variant == baseline:
                plain.setdefault(row.seed, row)
            else:
                named.append(dataclasses.replace(row, variant=at_rate(row.variant, rate)))
    one = compare(rows[rates[-1]], order=order, baseline=baseline, same=same)
    joint = compare(
        [*plain.values(), *named],
        order=[baseline, *(at_rate(name, rate) for rate in rates for name in order)],
        baseline=baseline,
        same=[[at_rate(name, rate) for name in group] for rate in rates for group in same],
    )
    # "p6* 0.3", not "p6 0.3*".
    names = {
        at_rate(group[0], rate) + MERGED: at_rate(group[0] + MERGED, rate)
        for rate in rates
        for group in same
    }
    networks = {names.get(name, name): own for name, own in joint.networks.items()}
    every = {one.network(name): None for name in order if name != baseline}
    return RateComparison(dataclasses.replace(joint, networks=networks), rates, tuple(every))


def rate_table(found: RateComparison) -> Table:
    """Differences to the baseline by rate, and how they change over the rates."""
    baseline = found.joint.baseline
    low, high = found.rates[0], found.rates[-1]
    cells = []
    for name in found.networks:
        line = [found.effects[rate].get(name) for rate in found.rates]
        if any(line):
            cells.append((name, *map(_entry, line), _entry(found.changes.get(name))))
    return Table(
        columns=(
            "network",
            *(f"rate {rate:g}" for rate in found.rates),
            f"rate {high:g} - rate {low:g}",
        ),
        cells=tuple(cells),
        notes=(
            f"Accuracy minus that of {baseline}, points [95 % interval], and n; {baseline} is one"
            " network at all rates, so that the columns are not independent. The last column"
            f" compares a network with itself, without {baseline}.",
            f"{_SIGNIFICANT.strip()}: p < 0.05 after Holm over the networks of the column.",
        ),
    )


def _entry(effect: Effect | None) -> str:
    if effect is None:
        return EMPTY
    star = _SIGNIFICANT if effect.significant else ""
    return f"{effect:+.2f}, n = {effect.n[0]}{star}"
