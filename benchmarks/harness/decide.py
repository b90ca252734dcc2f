"""Seeds until decided: whether a study's planned contrasts need more of them.

Contrasts are those of the claims of a study, compared in its rows.
"""

from collections.abc import Sequence

import numpy as np

from flaxdrop.results.claims import MARGIN, Claim
from flaxdrop.results.comparison import Comparison
from flaxdrop.results.sequences import anytime_interval, is_decided
from flaxdrop.table import Table


def contrasts(claims: Sequence[Claim], comparison: Comparison) -> list[tuple[str, str]]:
    """The planned contrasts of accuracy whose two networks have cells."""
    pairs = [
        pair
        for claim in claims
        if claim.measure == "accuracy" and not claim.proof
        for pair in claim.contrasts
        if all(comparison.has(name) for name in pair)
    ]
    return list(dict.fromkeys(pairs))


def differences(comparison: Comparison, pair: tuple[str, str]) -> list[float]:
    """First minus second network, points, one for every seed that both have, in their order."""
    sides = [_by_seed(comparison, name) for name in pair]
    return [sides[0][seed] - sides[1][seed] for seed in sorted(sides[0].keys() & sides[1].keys())]


def undecided(claims: Sequence[Claim], comparison: Comparison) -> list[tuple[str, str]]:
    """The planned contrasts that need more seeds."""
    return [
        pair
        for pair in contrasts(claims, comparison)
        if not is_decided(differences(comparison, pair), MARGIN)
    ]


def decision_table(claims: Sequence[Claim], comparison: Comparison) -> Table:
    """Every planned contrast with the interval that is valid at any time."""
    cells = []
    for pair in contrasts(claims, comparison):
        values = differences(comparison, pair)
        low, high = anytime_interval(values)
        names = " - ".join(map(comparison.network, pair))
        interval = f"{np.mean(values):+.2f} [{low:+.2f}, {high:+.2f}]"
        decided = "yes" if is_decided(values, MARGIN) else "no"
        cells.append((names, f"{len(values)}", interval, decided))
    notes = (
        "Differences of accuracy by seed, points [95 % confidence sequence (Wang and Ramdas 2025),"
        " valid however many seeds were looked at before]; it covers the seeds. Decided: it leaves"
        f" out 0, or is within {MARGIN:g} point.",
    )
    return Table(("planned contrast", "seeds", "difference", "decided"), tuple(cells), notes)


def _by_seed(comparison: Comparison, name: str) -> dict[int, float]:
    values: dict[int, list[float]] = {}
    for variant in comparison.networks[comparison.network(name)]:
        for seed, value in comparison.by_variant[variant].values["accuracy"].items():
            values.setdefault(seed, []).append(value)
    return {seed: float(np.mean(several)) for seed, several in values.items()}
