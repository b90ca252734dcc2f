"""The table of one study at several rates of its dropout: a row a variant, a column a rate."""

from collections.abc import Mapping, Sequence

from flaxdrop.results.comparison import CONFIDENCE, effects_by_rate, outcomes
from flaxdrop.results.ledger import Row
from flaxdrop.results.statistics import Paired, holm, paired
from flaxdrop.table import EMPTY, Table

_STANDS_OUT = " *"


def rate_table(
    rows: Mapping[float, Sequence[Row]],
    *,
    order: Sequence[str],
    baseline: str,
    nulls: Sequence[tuple[str, str]] = (),
) -> Table:
    """Last accuracy minus that of the baseline by rate, and how it changes over the rates.

    rows: rate to the rows of one config, from the lowest rate to the highest.
    order: the variants from top to bottom.
    baseline: the variant that the others are compared with, at its own rate, seed by seed.
    nulls: pairs of variants that are one network with different masks.

    Raises:
      ValueError: a variant has two rows of one seed at one rate.
    """
    effects = effects_by_rate(rows, "last", baseline, nulls)
    changes = _changes(rows, baseline)
    most = max((e.difference.n for of in effects.values() for e in of.values()), default=0)
    low, high = min(rows), max(rows)
    cells = [
        (
            variant,
            *(_words(e.difference, e.stands_out, most) if e else EMPTY for e in line),
            _words(*changes[variant], most) if variant in changes else EMPTY,
        )
        for variant in order
        if any(line := [of.get(variant) for of in effects.values()])
    ]
    notes = [
        f"Last accuracy minus that of {baseline}, points, paired by seed [95 % t interval];"
        f" n = {most} unless told otherwise.",
        f"{_STANDS_OUT.strip()}: significant over the variants of its column after Holm (p < 0.05),"
        " and at a rate larger than its noise as well, where a null tells it.",
        f"With its seeds {baseline} is the same at all rates: the columns are not independent.",
    ]
    if any(row.status == "diverged" for of in rows.values() for row in of):
        notes.append("Diverged cells are in none of the means.")
    columns = ("variant", *(f"rate {rate:g}" for rate in effects), f"from {low:g} to {high:g}")
    return Table(columns, tuple(cells), tuple(notes))


def _changes(rows: Mapping[float, Sequence[Row]], baseline: str) -> dict[str, tuple[Paired, bool]]:
    """Variant to its difference at the highest rate minus that at the lowest; is it significant?"""
    by_seed = {}
    for rate in (min(rows), max(rows)):
        accuracy = {of.variant: of.accuracy["last"] for of in outcomes(rows[rate], ())}
        base = accuracy.pop(baseline, {})
        by_seed[rate] = {
            variant: {seed: of[seed] - base[seed] for seed in of.keys() & base.keys()}
            for variant, of in accuracy.items()
        }
    low, high = by_seed[min(rows)], by_seed[max(rows)]
    both = {variant: (high[variant], low[variant]) for variant in high if variant in low}
    found = {variant: paired(*of, CONFIDENCE) for variant, of in both.items()}
    p_values = holm([change.p_value for change in found.values()])
    return {
        variant: (change, p_value < 1 - CONFIDENCE)
        for (variant, change), p_value in zip(found.items(), p_values, strict=True)
        if change.n
    }


def _words(of: Paired, stands_out: bool, most: int) -> str:
    fewer = f" (n = {of.n})" if 0 < of.n < most else ""
    return f"{of:+.2f}{fewer}{_STANDS_OUT if stands_out else ''}"
