"""The published claims, and what the rows of a config say about each.

A claim is one or more contrasts: paired differences between two variants, by seed, of one quantity.
It holds where every contrast's 95 % interval lies on the claim's side of 0; it does not where one
of its k contrasts, run or not, lies on the other side, in its interval of 1 - 0.05 / k
(Bonferroni). Where a study has a null, the difference must be larger than the noise as well.
Otherwise it is undecided.
So where there is no effect at all a claim is said to hold in at most 2.5 % of the cases, and not to
hold in at most 2.5 %. There is no correction over the claims.

A claim of no difference holds where every 95 % interval lies within `MARGIN`, which is ours; it
does not where one leaves out 0 after Bonferroni: in at most 5 % of the cases by chance. The study's
null has no say, for its pairs may be the very contrasts.
"""

import dataclasses
import math
from collections.abc import Callable, Collection, Sequence

from flaxdrop.results.comparison import CONFIDENCE, null_of, outcomes
from flaxdrop.results.ledger import Row
from flaxdrop.results.statistics import BySeed, Null, Paired, paired

HOLDS, NOT, UNDECIDED = "holds", "does not", "undecided"
MARGIN = 1.0  # points of accuracy
_UAI = "Kim et al. 2023"
_CHLIS = "Chlis 2017"


@dataclasses.dataclass(frozen=True)
class Quantity:
    """What a contrast is a difference of.

    Attributes:
      unit: of the difference.
      of: the value of a finished cell; None: its row does not have it.
      null: the study's null is of this quantity.
    """

    unit: str
    of: Callable[[Row], float | None]
    null: bool


def _log_variance(row: Row) -> float | None:
    variance = row.measured.get("logit_variance", 0.0)  # measured by benchmarks.head
    return math.log(variance) if variance > 0 else None


ACCURACY = Quantity("points", lambda row: 100 * row.last_accuracy, null=True)
LOG_VARIANCE = Quantity("ln of the logits' variance under the masks", _log_variance, null=False)


@dataclasses.dataclass(frozen=True)
class Claim:
    """What is published.

    Attributes:
      words: the claim, a sentence without its stop.
      source: who claims it; "inferred" where the source does not say it so.
      study: whose variants the contrasts name.
      sign: of every contrast: 1, -1, or 0 for no difference.
      contrasts: (a, b): a - b. Those of variants that a config does not have are left out.
      quantity: of which.
    """

    words: str
    source: str
    study: str
    sign: int
    contrasts: tuple[tuple[str, str], ...]
    quantity: Quantity = ACCURACY


@dataclasses.dataclass(frozen=True)
class Finding:
    """What rows say about a claim.

    Attributes:
      verdict: `HOLDS`, `NOT` or `UNDECIDED`.
      effects: "a - b" -> its difference, with the 95 % interval.
      missing: contrasts that no seed has both sides of.
    """

    verdict: str
    effects: dict[str, Paired]
    missing: tuple[str, ...]

    @property
    def n(self) -> str:
        """Seeds of its contrasts: "5", or "2 to 5" where some have fewer."""
        counts = sorted({effect.n for effect in self.effects.values()})
        return f"{counts[0]} to {counts[-1]}" if len(counts) > 1 else f"{sum(counts)}"


def judge(
    claim: Claim,
    rows: Sequence[Row],
    variants: Collection[str],
    nulls: Sequence[tuple[str, str]] = (),
) -> Finding:
    """What the rows of one config say about a claim of its study.

    Args:
      claim: the claim.
      rows: of one config; those of diverged cells count as missing.
      variants: that the config has.
      nulls: pairs of variants that are one network with different masks.
    """
    values: dict[str, dict[int, float]] = {}
    for row in rows:
        if row.status == "finished" and (value := claim.quantity.of(row)) is not None:
            values.setdefault(row.variant, {})[row.seed] = value
    own = [pair for pair in claim.contrasts if set(pair) <= set(variants)]
    run = [(a, b) for a, b in own if values.get(a, {}).keys() & values.get(b, {}).keys()]
    null = None
    if claim.quantity.null and claim.sign:
        null = null_of(outcomes(rows, ()), "last", nulls)
    sides = [(values[a], values[b]) for a, b in run]
    return Finding(
        verdict=_verdict(claim.sign, sides, null, contrasts=len(own)),
        effects={_name(pair): paired(*of, CONFIDENCE) for pair, of in zip(run, sides, strict=True)},
        missing=tuple(_name(pair) for pair in own if pair not in run),
    )


def _verdict(
    sign: int, sides: Sequence[tuple[BySeed, BySeed]], null: Null | None, *, contrasts: int
) -> str:
    """contrasts: of the claim, of which `sides` are those that were run."""
    corrected = 1 - (1 - CONFIDENCE) / max(1, contrasts)
    each = [paired(a, b, CONFIDENCE) for a, b in sides]
    strict = [paired(a, b, corrected) for a, b in sides]
    # Without a null nothing is known about noise, and NaN bars nothing.
    bars = [null.noise(effect.n) if null else math.nan for effect in each]
    told = [not abs(effect.mean) <= bar for effect, bar in zip(each, bars, strict=True)]
    if sign == 0:
        holds = [effect.low > -MARGIN and effect.high < MARGIN for effect in each]
        against = [effect.low > 0 or effect.high < 0 for effect in strict]
    else:
        holds = [(effect.low if sign > 0 else -effect.high) > 0 for effect in each]
        holds = list(map(all, zip(holds, told, strict=True)))
        against = [(effect.high if sign > 0 else -effect.low) < 0 for effect in strict]
    if 0 < contrasts == len(sides) and all(holds):
        return HOLDS
    if any(map(all, zip(against, told, strict=True))):
        return NOT
    return UNDECIDED


def _name(pair: tuple[str, str]) -> str:
    return " - ".join(pair)


CLAIMS = (
    Claim("P6 helps", _UAI, "preresnet", 1, (("p6", "none"),)),
    Claim(
        "P6 is better than every other position, P5 apart, which is the same network",
        f"{_UAI}, labels inferred",
        "preresnet",
        1,
        tuple(("p6", other) for other in ("p0", "p1", "p2", "p3", "p4", "p7")),
    ),
    Claim(
        "P1, P2, P3 and P4 hurt",
        f"{_UAI}, labels inferred",
        "preresnet",
        -1,
        tuple((position, "none") for position in ("p1", "p2", "p3", "p4")),
    ),
    Claim(
        "In the head, dropout before the pooling gives a more stable output than after it",
        _UAI,
        "head",
        -1,
        tuple((f"h4 {rate:g}", f"h5 {rate:g}") for rate in (0.1, 0.2, 0.3, 0.4, 0.5)),
        LOG_VARIANCE,
    ),
    Claim(
        "Dropout 0.2 after every convolution helps", _CHLIS, "vgg_depth", 1, (("conv 0.2", "BN"),)
    ),
    Claim(
        "Dropout 0.5 after every convolution hurts", _CHLIS, "vgg_depth", -1, (("conv 0.5", "BN"),)
    ),
    Claim(
        "Deeper blocks bear more dropout (block 3 against block 1)",
        _CHLIS,
        "vgg_depth",
        1,
        tuple((f"block 3 only {rate}", f"block 1 only {rate}") for rate in (0.2, 0.5)),
    ),
    Claim(
        "Dropout after the dense layers helps a little",
        _CHLIS,
        "vgg_depth",
        1,
        (("dense 0.2", "BN"), ("dense 0.5", "BN")),
    ),
    Claim(
        "Half the filters are better than dropout 0.5 after every convolution",
        _CHLIS,
        "vgg_depth",
        1,
        (("half the filters", "conv 0.5"),),
    ),
    Claim(
        "Channel-wise, the order of dropout and pooling makes no difference",
        "the question on pooling",
        "pooling",
        0,
        tuple(
            (f"{pooling} channel before", f"{pooling} channel after")
            for pooling in ("max", "average")
        ),
    ),
)
