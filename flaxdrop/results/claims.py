"""Published claims, and what the rows of one config say about each of them.

A claim is one or more contrasts: differences between two networks, in one direction. It *holds*
where every contrast's 95 % interval lies on the claim's side of 0. It *does not* where one of its k
contrasts lies on the other side, in its interval of 1 - 0.05 / k (Bonferroni). Otherwise it is *the
same* where every contrast is smaller than `MARGIN`, by two one-sided tests (TOST); else it is
*undecided*. With no effect at all, a claim would be called "holds" in at most 2.5 % of studies and
"does not hold" in another 2.5 %; over many claims nothing is corrected.

A theorem is no question for statistics: it is *proved*, by the test that it names.
"""

import dataclasses
from collections.abc import Sequence

from flaxdrop.results.comparison import Comparison
from flaxdrop.results.effect import Effect, Estimate, in_points
from flaxdrop.results.statistics import CONFIDENCE

HOLDS, NOT, SAME, UNDECIDED = "holds", "does not hold", "the same", "undecided"
PROVED, NOT_RUN = "proved", "not run"
MARGIN = 1.0  # points of accuracy; of ours
_MOST_SEEDS = 1000


@dataclasses.dataclass(frozen=True)
class Claim:
    """What is published.

    Attributes:
      words: the claim, a sentence without its stop.
      source: who claims it; "inferred" where the source does not say it so.
      sign: of every contrast in accuracy: 1, a gain, or -1, a loss.
      contrasts: (a, b): a - b, by the names of networks. Those that a config does not have are left
        out.
      measure: what is compared; accuracy is judged by the best epoch and by the likelihood, too.
      proof: of a theorem: the test that holds it; it has no sign.
    """

    words: str
    source: str
    contrasts: tuple[tuple[str, str], ...]
    sign: int = 1
    measure: str = "accuracy"
    proof: str = ""


@dataclasses.dataclass(frozen=True)
class Finding:
    """What rows say about a claim, by one measure.

    Attributes:
      verdict: `HOLDS`, `NOT`, `SAME`, `UNDECIDED`, `PROVED` or `NOT_RUN`.
      effects: one for every contrast that has cells on both sides.
      missing: "a - b", the contrasts that have not.
    """

    verdict: str
    effects: tuple[Effect, ...]
    missing: tuple[str, ...]


def judge(claim: Claim, comparison: Comparison, measure: str = "") -> Finding:
    """What the rows of one config say about a claim of its study.

    Args:
      claim: the claim.
      comparison: of the rows.
      measure: what is compared; empty: the claim's own. By "nll" a gain is a fall.
    """
    measure = measure or claim.measure
    own = [pair for pair in claim.contrasts if set(pair) <= set(comparison.order)]
    run = [pair for pair in own if all(comparison.has(name, measure) for name in pair)]
    effects = tuple(comparison.effect(a, b, measure) for a, b in run)
    missing = tuple(" - ".join(pair) for pair in own if pair not in run)
    if claim.proof:
        verdict = PROVED
    elif not effects:
        verdict = NOT_RUN
    else:
        sign = -claim.sign if measure == "nll" else claim.sign
        margin = MARGIN if in_points(measure) else 0.0
        verdict = _verdict(sign, effects, len(own), margin)
    return Finding(verdict, effects, missing)


def _verdict(sign: int, effects: Sequence[Effect], contrasts: int, margin: float) -> str:
    complete = len(effects) == contrasts
    corrected = 1 - (1 - CONFIDENCE) / contrasts
    if complete and all(_beyond(effect, sign, CONFIDENCE) for effect in effects):
        return HOLDS
    if any(_beyond(effect, -sign, corrected) for effect in effects):
        return NOT
    if complete and all(effect.same(margin) for effect in effects):
        return SAME
    return UNDECIDED


def _beyond(effect: Effect, sign: int, confidence: float) -> bool:
    low, high = effect.interval(confidence)
    return low > 0 if sign > 0 else high < 0


def seeds_needed(effect: Effect) -> int | None:
    """How many seeds a network would decide a contrast, if its difference stays what it is.

    Decided: the 95 % interval leaves out 0, or the 90 % interval is within `MARGIN`.

    Args:
      effect: undecided, in points.

    Returns:
      Seeds for each of the two networks; None: more than a thousand, or the test images alone leave
      too much to chance.
    """
    if not effect.seed_variance > 0:
        return None
    # Of one seed a network: n seeds divide it by n.
    n_a, n_b = effect.n
    one = effect.seed_variance / (1 / n_a + 1 / n_b) * 2
    per_seed = effect.seed_freedom / max(1, min(n_a, n_b))

    def decided(n: int) -> bool:
        found = Estimate(effect.mean, one / n, max(1.0, per_seed * n), effect.image_variance)
        low, high = found.interval()
        return low > 0 or high < 0 or found.same(MARGIN)

    return next((n for n in range(2, _MOST_SEEDS + 1) if decided(n)), None)
