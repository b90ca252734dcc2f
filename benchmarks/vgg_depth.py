"""At which depth of a VGG-like network does dropout help or hurt, and at what rate?

N. Chlis, "Applying Dropout in Convolutional Neural Nets: Where and to what extent?", 2017.

    python -m benchmarks.vgg_depth --config configs/vgg_digits.py
"""

import dataclasses
from collections.abc import Iterator, Mapping

from benchmarks.findings.agreement import agreement
from benchmarks.harness.plan import Plan
from benchmarks.harness.settings import Settings
from benchmarks.harness.study import Study
from benchmarks.harness.variants import Variant
from flaxdrop.models.vgg import VGG
from flaxdrop.placement import Placement
from flaxdrop.results.claims import Claim
from flaxdrop.results.comparison import Comparison
from flaxdrop.results.regime import regime
from flaxdrop.training.recipe import require

BASELINE = "BN"
BLOCK_RATES = (0.2, 0.5)

# Best test accuracy over the epochs on CIFAR-10, one run each; read off the post's bar charts.
PUBLISHED = {
    "no BN": 0.7803,
    "BN": 0.8563,
    "conv 0.2": 0.8707,
    "conv 0.5": 0.7384,
    "half the filters": 0.8327,
    "dense 0.2": 0.8619,
    "dense 0.5": 0.8627,
    "conv 0.2 + dense 0.2": 0.8733,
    "conv 0.2 + dense 0.5": 0.8831,
    "twice the units": 0.8578,
    "twice the units + dense 0.5": 0.8598,
    "twice the units + dense 0.75": 0.8659,
    "twice the units + conv 0.2 + dense 0.5": 0.8784,
    "twice the units + conv 0.2 + dense 0.75": 0.8793,
    "block 1 only 0.2": 0.8504,
    "block 1 only 0.5": 0.8146,
    "block 2 only 0.2": 0.8576,
    "block 2 only 0.5": 0.8282,
    "block 3 only 0.2": 0.8778,
    "block 3 only 0.5": 0.8722,
}

_SOURCE = "Chlis 2017"
CLAIMS = (
    Claim("Dropout 0.2 after every convolution helps", _SOURCE, (("conv 0.2", BASELINE),)),
    Claim("Dropout 0.5 after every convolution hurts", _SOURCE, (("conv 0.5", BASELINE),), sign=-1),
    Claim(
        "Deeper blocks bear more dropout (block 3 against block 1)",
        _SOURCE,
        tuple((f"block 3 only {rate}", f"block 1 only {rate}") for rate in BLOCK_RATES),
    ),
    Claim(
        "Dropout after the dense layers helps a little",
        _SOURCE,
        (("dense 0.2", BASELINE), ("dense 0.5", BASELINE)),
    ),
    Claim(
        "Half the filters are better than dropout 0.5 after every convolution",
        _SOURCE,
        (("half the filters", "conv 0.5"),),
    ),
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class VGGSettings(Settings):
    """The network of the block depth study; some variants halve the filters or double the units.

    Attributes:
      widths: filters of the blocks, an even number each; as many blocks.
      units: of each of the two dense layers.
      norm_momentum: of batch norm's statistics, in [0, 1).
    """

    widths: tuple[int, ...] = (64, 128, 256)
    units: int = 512
    norm_momentum: float = 0.99

    def __post_init__(self) -> None:
        super().__post_init__()
        even = not any(width % 2 for width in self.widths)
        require(even, "widths", self.widths, "one even number or more")
        momentum = self.norm_momentum
        require(0 <= momentum < 1, "norm_momentum", momentum, "in [0, 1)")

    @property
    def conv_slots(self) -> list[str]:
        """The slots of the blocks, the first one's first."""
        return [f"conv{block}" for block in range(1, len(self.widths) + 1)]


def variants(settings: VGGSettings, classes: int) -> Mapping[str, Variant]:
    """The post's configurations, in the order of its charts."""
    own = {"momentum": settings.norm_momentum, "dtype": settings.dtype}
    bn = VGG(classes, settings.widths, settings.units, **own)
    half = bn.clone(widths=tuple(width // 2 for width in settings.widths))
    twice = bn.clone(units=2 * settings.units)

    def conv(rate: float) -> Placement:
        return Placement(dict.fromkeys(settings.conv_slots, rate))

    def dense(rate: float) -> Placement:
        return Placement({"dense": rate})

    none = Placement()
    return {
        "no BN": Variant(bn.clone(batch_norm=False), none),
        BASELINE: Variant(bn, none),
        "conv 0.2": Variant(bn, conv(0.2)),
        "conv 0.5": Variant(bn, conv(0.5)),
        "half the filters": Variant(half, none),
        "dense 0.2": Variant(bn, dense(0.2)),
        "dense 0.5": Variant(bn, dense(0.5)),
        "conv 0.2 + dense 0.2": Variant(bn, conv(0.2) | dense(0.2)),
        "conv 0.2 + dense 0.5": Variant(bn, conv(0.2) | dense(0.5)),
        "twice the units": Variant(twice, none),
        "twice the units + dense 0.5": Variant(twice, dense(0.5)),
        "twice the units + dense 0.75": Variant(twice, dense(0.75)),
        "twice the units + conv 0.2 + dense 0.5": Variant(twice, conv(0.2) | dense(0.5)),
        "twice the units + conv 0.2 + dense 0.75": Variant(twice, conv(0.2) | dense(0.75)),
    } | {
        _one_block(slot, rate): Variant(bn, Placement({slot: rate}))
        for slot in settings.conv_slots
        for rate in BLOCK_RATES
    }


def published(settings: VGGSettings) -> Mapping[str, float]:
    """The post's numbers; none beside a dataset that it does not have."""
    return PUBLISHED if settings.dataset == "cifar10" else {}


def stated(settings: VGGSettings) -> str:
    """What the published numbers are."""
    if not published(settings):
        return ""
    return (
        "Published: the best test accuracy over the epochs of one run each, read off the post's bar"
        " charts"
    )


def findings(plan: Plan[VGGSettings], comparison: Comparison) -> Iterator[str]:
    """The post's two pictures as differences to the baseline, and how many agree in their sign."""
    from flaxdrop.plots.block_depth import draw_depth

    settings = plan.settings
    beside = published(settings)
    path = plan.folder.picture("depth")
    draw_depth(
        comparison,
        path,
        published=beside,
        by_block={
            rate: [_one_block(slot, rate) for slot in settings.conv_slots] for rate in BLOCK_RATES
        },
        title="At which depth of a VGG-like network does dropout help, at what rate?",
        subtitle=regime(comparison),
    )
    yield f"by depth  {path}"
    yield from agreement(comparison, beside)


def _one_block(slot: str, rate: float) -> str:
    return f"block {slot.removeprefix('conv')} only {rate:g}"


STUDY = Study(
    name="vgg_depth",
    question=__doc__.splitlines()[0],
    example="configs/vgg_digits.py",
    settings=VGGSettings,
    variants=variants,
    published=published,
    stated=stated,
    baseline=BASELINE,
    claims=CLAIMS,
    findings=findings,
)

if __name__ == "__main__":
    from benchmarks.harness.command import main

    main(STUDY)
