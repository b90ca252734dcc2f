"""The answer of the transfer study: the claim, our numbers, the explanation."""

from collections.abc import Iterator, Mapping

import numpy as np

from flaxdrop.results.comparison import Comparison
from flaxdrop.results.effect import UNITS, Effect
from flaxdrop.results.outcome import Outcome
from flaxdrop.results.statistics import BySeed, summary
from flaxdrop.table import Table
from flaxdrop.theory.variance import noise_factor

RATE = 0.5  # of the question

CLAIMS = (
    ("before the classifier it raises accuracy", "before classifier", "accuracy", 1),
    ("before the classifier it lowers the loss", "before classifier", "nll", -1),
    ("after the classifier it hurts accuracy", "after classifier", "accuracy", -1),
    ("after the classifier it hurts the loss", "after classifier", "nll", 1),
)


def answer(comparison: Comparison, features: np.ndarray) -> Table:
    """Our numbers on the claims of the question, and what explains them.

    Args:
      comparison: of the rows of the study.
      features: `[N, h, w, C]`, of the training images.
    """
    cells = []
    for words, place, measure, sign in CLAIMS:
        variant = f"{place} {RATE:g}"
        if not (comparison.has(variant) and comparison.has("none")):
            continue
        ours = comparison.effect(variant, "none", measure)
        cells.append((words, UNITS[measure], f"{ours:+.3f}", f"{ours.n[0]}", verdict(ours, sign)))
    return Table(
        columns=(f"claim, rate {RATE:g}", "unit", "ours", "n", "verdict"),
        cells=tuple(cells),
        notes=(
            "The question reports 94.49 % without dropout and 96.82 % with rate 0.5 before the"
            " classifier, and a loss lower by about 0.02: one run on 9 classes of its own images,"
            " weights from ImageNet. They are its context, not numbers of these images. Ours:"
            " differences to no dropout, test set, last epoch [95 % interval over seeds, which"
            " differ in initial weights, order and masks, and, for accuracy, over the drawn test"
            " images]. A claim holds, or does not, where the interval leaves out 0.",
            *_explanation(comparison.by_variant, features),
        ),
    )


def verdict(effect: Effect, sign: int) -> str:
    """What an interval says of a claim about the sign of a difference."""
    low, high = effect.interval()
    if not low * high > 0:
        return "undecided"
    return "holds" if sign * effect.mean > 0 else "does not hold"


def _explanation(found: Mapping[str, Outcome], features: np.ndarray) -> Iterator[str]:
    if base := found.get("none"):
        gap = summary(base.gap.values())
        if gap.low > 0:
            meaning = "that gap is what a regulariser can win back"
        elif gap.high < 0:
            meaning = "there is no gap that a regulariser could win back"
        else:
            meaning = "it is not told whether there is a gap that a regulariser could win back"
        yield (
            f"Without dropout the classifier is right on {gap:.1f} points more of the training"
            " images than of the test images, with a calibration error of"
            f" {100 * _mean(base.ece):.1f} %: {meaning}."
        )
    before = found.get(f"before classifier {RATE:g}")
    if base and before:
        yield (
            "Before the classifier no weight can rely on a feature that may be missing: noise on"
            " the input of a linear model is a penalty on its weights. Calibration error"
            f" {100 * _mean(base.ece):.1f} -> {100 * _mean(before.ece):.1f} %."
        )
    after = found.get(f"after classifier {RATE:g}")
    if base and after:
        yield (
            "After the classifier nothing is regularised: the logits themselves, that of the true"
            f" class too, are 0 with probability {RATE:g} and scaled otherwise, which no weight can"
            " make up for and inference never does. Calibration error"
            f" {100 * _mean(base.ece):.1f} -> {100 * _mean(after.ece):.1f} %."
        )
    pixels = features.shape[1] * features.shape[2]
    if pixels == 1:
        yield "The features have one pixel: before the pooling is before the classifier."
        return
    noise = _noise(features)
    equal = noise_factor(RATE) * noise / (1 + noise_factor(RATE) * noise)
    yield (
        f"Before the pooling the same dropout is averaged over {pixels} pixels: on these features"
        f" it adds {noise:.2f} times the noise of one before the classifier (closed form), so that"
        f" rate {RATE:g} there is like {equal:.2f} here."
    )


def _noise(features: np.ndarray) -> float:
    """Noise on the pooled features by dropout before the pooling, over that by dropout after it."""
    pixels = features.shape[1] * features.shape[2]
    pooled = features.mean(axis=(1, 2))
    # `flaxdrop.theory.head.pooling_noise`: the rate is in both alike.
    return float(np.mean(np.square(features)) / pixels / np.mean(np.square(pooled)))


def _mean(values: BySeed) -> float:
    return float(np.mean(list(values.values())))
