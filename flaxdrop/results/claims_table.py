"""The published claims beside what the rows of one config say about them."""

from collections.abc import Iterator, Sequence

from flaxdrop.results.claims import (
    MARGIN,
    NOT_RUN,
    PROVED,
    SAME,
    UNDECIDED,
    Claim,
    Finding,
    judge,
    seeds_needed,
)
from flaxdrop.results.comparison import Comparison
from flaxdrop.results.effect import UNITS
from flaxdrop.results.table import measure_name
from flaxdrop.table import EMPTY, Table

NOTES = (
    "A claim holds where the 95 % interval of each of its differences lies on its side of 0. It"
    " does not where one lies on the other side (Bonferroni over its differences). The same: each"
    f" is within {MARGIN:g} point, by two one-sided tests of 5 %; the margin is ours. With no"
    ' effect, a claim would be called "holds" in at most 2.5 % of studies, and "does not hold"'
    " in another 2.5 %. Over the claims nothing is corrected.",
    "Seeds to decide: for each network, if the difference stays what it is.",
)


def claims_table(comparison: Comparison, claims: Sequence[Claim]) -> Table:
    """A line for every claim: its verdict by each measure, and its differences."""
    columns = ("published claim", "verdict", "differences", "by other measures", "seeds to decide")
    cells = []
    for claim in claims:
        found = judge(claim, comparison)
        cells.append(
            (
                f"{claim.words} ({claim.source})",
                verdict_words(claim, found),
                differences(found) or EMPTY,
                other_verdicts(claim, comparison) or EMPTY,
                needed(found),
            )
        )
    accuracy = f"Verdict and differences: of the accuracy, {measure_name(comparison, 'accuracy')}."
    return Table(columns, tuple(cells), (accuracy, *NOTES))


def claim_lines(comparison: Comparison, claims: Sequence[Claim]) -> Iterator[str]:
    """A line for every claim that the rows speak to, for a terminal."""
    for claim in claims:
        found = judge(claim, comparison)
        if found.verdict != NOT_RUN:
            line = f"{claim.words} ({claim.source}): {verdict_words(claim, found)}"
            others = other_verdicts(claim, comparison)
            yield ". ".join(filter(None, [line, differences(found), others]))


def other_verdicts(claim: Claim, comparison: Comparison) -> str:
    """The verdicts by the best epoch and by the likelihood; empty where there are none."""
    if claim.measure != "accuracy" or claim.proof:
        return ""
    best, nll = (judge(claim, comparison, measure).verdict for measure in ("best", "nll"))
    return f"Best: {best}; NLL: {nll}"


def verdict_words(claim: Claim, found: Finding) -> str:
    """The verdict as a table says it."""
    words = {
        SAME: f"the same to within {MARGIN:g} point",
        PROVED: f"proved ({claim.proof})",
    }.get(found.verdict, found.verdict)
    if found.missing and found.verdict not in (PROVED, NOT_RUN):
        words += f"; not run: {', '.join(found.missing)}"
    return words


def differences(found: Finding) -> str:
    """Every difference of a claim with its interval and its unit."""
    units = [UNITS.get(effect.measure, f"({effect.measure})") for effect in found.effects]
    pairs = zip(found.effects, units, strict=True)
    return "; ".join(f"{effect.name}: {effect:+.2f} {unit}" for effect, unit in pairs)


def needed(found: Finding) -> str:
    """How many seeds would decide an undecided claim."""
    if found.verdict != UNDECIDED or any(e.measure != "accuracy" for e in found.effects):
        return EMPTY
    if not all(effect.seed_variance > 0 for effect in found.effects):
        return EMPTY  # one seed does not tell how much seeds differ
    seeds = [seeds_needed(effect) for effect in found.effects]
    known = [number for number in seeds if number is not None]
    if len(known) < len(seeds):
        return "more test images, too"
    return f"{max(known)}" if known else EMPTY
