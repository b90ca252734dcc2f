"""Dropout in the head: before the pooling, after it, both, or on the logits?

Kim et al., UAI 2023: before global average pooling the output is more stable than after it.

    python -m benchmarks.head --config configs/head_digits.py
"""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from benchmarks.harness.plan import Plan
from benchmarks.harness.settings import Settings
from benchmarks.harness.study import Study
from benchmarks.harness.variants import Variant, at_rates, names_at_rates
from flaxdrop.analysis.logits import logit_variance
from flaxdrop.data.augment import normalise
from flaxdrop.models import DenseNet, PreResNet
from flaxdrop.results.claims import Claim
from flaxdrop.results.comparison import Comparison
from flaxdrop.results.outcome import LOG
from flaxdrop.results.regime import regime
from flaxdrop.results.statistics import summary
from flaxdrop.table import Table
from flaxdrop.training.recipe import require

NETWORKS = ("preresnet", "densenet")
PLACES = {"h4": ("h4",), "h5": ("h5",), "h4 + h5": ("h4", "h5"), "logits": ("logits",)}
VARIANCE = "logit_variance"
CLAIMS = (
    Claim(
        "In the head, dropout before the pooling gives a more stable output than after it",
        "Kim et al. 2023",
        tuple((f"h4 {rate:g}", f"h5 {rate:g}") for rate in (0.1, 0.2, 0.3, 0.4, 0.5)),
        sign=-1,
        measure=LOG + VARIANCE,
    ),
)
_IMAGES = 64  # test images that the variance of the logits is measured on
_MASKS = 50


@dataclasses.dataclass(frozen=True, kw_only=True)
class HeadSettings(Settings):
    """The network and the dropout layers of the head study.

    Attributes:
      network: "preresnet" or "densenet".
      stem: of the network: "cifar" or "imagenet".
      depth: 6n + 2 for the first, 6n + 4 for the second; with the stem for ImageNet 50, 101 or 152,
        and 121, 161, 169 or 201.
      widths: channels of the stages of the first.
      growth: channels that a layer of the second adds.
      rates: of the dropout layers, each in [0, 1].
    """

    network: str = "preresnet"
    stem: str = "cifar"
    depth: int
    widths: tuple[int, ...] = (16, 32, 64)
    growth: int = 12
    rates: tuple[float, ...] = (0.1, 0.2, 0.3, 0.4, 0.5)

    def __post_init__(self) -> None:
        super().__post_init__()
        known = f"one of {', '.join(NETWORKS)}"
        require(self.network in NETWORKS, "network", self.network, known)
        _ = self.build(classes=2).slots

    def build(self, classes: int) -> PreResNet | DenseNet:
        """The network that all variants share."""
        if self.network == "densenet":
            return DenseNet(self.depth, classes, self.growth, self.stem, dtype=self.dtype)
        block = "basic" if self.stem == "cifar" else "bottleneck"
        return PreResNet(self.depth, classes, block, self.widths, self.stem, dtype=self.dtype)


def variants(settings: HeadSettings, classes: int) -> Mapping[str, Variant]:
    """No dropout, and every place at every rate."""
    return at_rates(settings.build(classes), PLACES, settings.rates)


def stated(settings: HeadSettings) -> str:
    """The paper's score on ImageNet, and what is not known about it."""
    if (settings.dataset, settings.network) != ("imagenet2012", "densenet"):
        return ""
    return "Published for DenseNet-169 with H4*: 79.152 %, one run, the meaning of * not known"


def findings(plan: Plan[HeadSettings], comparison: Comparison) -> Iterator[str]:
    """The gap between training and test, and how much the masks move the logits."""
    from flaxdrop.plots.rates import draw_rates

    cells = []
    for outcome in comparison.outcomes:
        own = [row for row in comparison.rows if row.variant == outcome.variant]
        variance = summary(row.measured[VARIANCE] for row in own if VARIANCE in row.measured)
        gap = summary(outcome.gap.values())
        cells.append((outcome.variant, f"{gap.n}", f"{gap:+.2f}", f"{variance:.4f}"))
    table = Table(
        columns=("variant", "n", "training - test, points", "variance of the logits"),
        cells=tuple(cells),
        notes=(
            "Training accuracy is that of the last epoch, with its dropout.",
            f"Variance over {_MASKS} masks, batch norm at inference, mean over classes and"
            f" {_IMAGES} test images; [95 % t interval over seeds].",
        ),
    )
    path = plan.folder.path / "head.md"
    path.write_text(table.markdown())
    yield table.text()
    picture = plan.folder.picture("rates")
    draw_rates(
        comparison,
        picture,
        places=names_at_rates(PLACES, plan.settings.rates),
        title=f"Where in the head of a {plan.settings.network} does dropout help, at what rate?",
        subtitle=regime(comparison),
    )
    yield f"head      {path}, {picture}"


def measure(
    plan: Plan[HeadSettings], variant: str, seed: int, trained: Mapping[str, Any]
) -> dict[str, float]:
    """The variance of the logits of a trained network under its masks."""
    family = plan.family(variant)
    images = plan.images
    x = normalise(jnp.asarray(images.x_test[:_IMAGES]), images.mean, images.std)
    key, placement = jax.random.key(seed), family.placements[variant]
    found = _logit_variance(family.model, trained, x, placement, key=key, masks=_MASKS)
    return {VARIANCE: float(found)}


_logit_variance = jax.jit(logit_variance, static_argnames=("model", "masks"))


STUDY = Study(
    name="head",
    question=__doc__.splitlines()[0],
    example="configs/head_digits.py",
    settings=HeadSettings,
    variants=variants,
    stated=stated,
    baseline="none",
    claims=CLAIMS,
    measure=measure,
    findings=findings,
)

if __name__ == "__main__":
    from benchmarks.harness.command import main

    main(STUDY)
