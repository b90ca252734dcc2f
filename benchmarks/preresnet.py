"""Which position of dropout in a pre-activation residual network helps, which hurts?

Kim et al., "How to Use Dropout Correctly on Residual Networks with Batch Normalization", UAI 2023.

    python -m benchmarks.preresnet --config configs/digits.py
"""

import dataclasses
from collections.abc import Iterator, Mapping

import numpy as np

from benchmarks.harness.plan import Plan
from benchmarks.harness.settings import Settings
from benchmarks.harness.study import Study
from benchmarks.harness.variants import Variant
from flaxdrop.mask import parse_mask
from flaxdrop.models.preresnet import BASIC_LAYOUT, BOTTLENECK_SLOTS, PreResNet
from flaxdrop.placement import Placement
from flaxdrop.results.claims import Claim
from flaxdrop.results.comparison import Comparison

# Test accuracy in the paper of PreResNet-110, and of PreResNet-101 on photos; their position and
# rate are not stated.
SCORES = {
    "cifar10": 0.944367,
    "cifar100": 0.7398,
    "oxford_iiit_pet": 0.855897,
    "caltech101": 0.841964,
}

# Dropout commutes with a ReLU: on both sides of one it is the same network, with other masks.
SAME = (("p6", "p5"), ("p2", "p3"))

_SOURCE = "Kim et al. 2023"
CLAIMS = (
    Claim("P6 helps", _SOURCE, (("p6", "none"),)),
    Claim(
        "P6 is better than every other position, P5 apart, which is the same network",
        f"{_SOURCE}, labels inferred",
        tuple(("p6", other) for other in ("p0", "p1", "p2", "p4", "p7")),
    ),
    *(
        Claim(f"{name} hurts", f"{_SOURCE}, labels inferred", ((slot, "none"),), sign=-1)
        for name, slot in (
            ("P1, before the first norm,", "p1"),
            ("P2 = P3, between the first norm and its convolution,", "p2"),
            ("P4, before the second norm,", "p4"),
            ("P7, at the end of the branch,", "p7"),
            ("P0, on the trunk,", "p0"),
        )
    ),
    Claim(
        "Dropout between a norm and each weight layer helps (P3 and P6, of its place: inferred)",
        "Chen et al. 2019, IC layer",
        (("p3", "none"), ("p6", "none")),
    ),
)
LABELS = {
    "p0": "on the trunk",
    "p1": "before norm 1",
    "p2": "before ReLU 1",
    "p3": "before conv 1",
    "p4": "before norm 2",
    "p5": "before ReLU 2",
    "p6": "before conv 2",
    "p7": "after conv 2",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class PreResNetSettings(Settings):
    """The network and the dropout of the position table.

    Attributes:
      depth: 6n + 2 with basic blocks, 9n + 2 with bottlenecks; 50, 101 or 152 with bottlenecks and
        the stem for ImageNet.
      block: "basic" or "bottleneck".
      stem: "cifar" or "imagenet".
      widths: channels of the stages.
      rate: of the dropout layers of every variant, in [0, 1].
      mask: what is dropped together.
    """

    depth: int
    block: str = "basic"
    stem: str = "cifar"
    widths: tuple[int, ...] = (16, 32, 64)
    rate: float = 0.1
    mask: str = "element"

    def __post_init__(self) -> None:
        super().__post_init__()
        parse_mask(self.mask)
        _ = self.network(classes=2).stage_sizes

    def network(self, classes: int) -> PreResNet:
        """The network that all variants share."""
        form = self.block, self.widths, self.stem
        return PreResNet(self.depth, classes, *form, dtype=self.dtype)


def variants(settings: PreResNetSettings, classes: int) -> Mapping[str, Variant]:
    """No dropout, and dropout at one place of every block: a variant for each place."""
    model = settings.network(classes)
    slots = tuple(LABELS) if settings.block == "basic" else BOTTLENECK_SLOTS
    return {"none": Variant(model, Placement())} | {
        slot: Variant(model, Placement({slot: settings.rate}, {slot: settings.mask}))
        for slot in slots
    }


def stated(settings: PreResNetSettings) -> str:
    """The paper's score on the dataset, and what is not known about it."""
    if settings.dataset not in SCORES:
        return ""
    score, is_photo = SCORES[settings.dataset], settings.augmentation == "photo"
    return (
        f"Published for PreResNet-{101 if is_photo else 110} with dropout: {100 * score:.6g} %,"
        f" {'chosen by validation images, ' if is_photo else ''}position and rate not stated;"
        f" inferred: {'' if is_photo else 'the best epoch, '}a mean over 3 seeds"
    )


def findings(plan: Plan[PreResNetSettings], comparison: Comparison) -> Iterator[str]:
    """How much of each position's harm was the shift of its batch norms: it is repaired."""
    from benchmarks.findings.recalibration import repair_table

    if not isinstance(plan.dataset.x_test, np.ndarray):
        yield "repair    not measured: the images are read while training"
        return
    table = repair_table(plan, comparison)
    path = plan.folder.path / "repair.md"
    path.write_text(table.markdown())
    yield table.text()
    yield f"repair    {path}"


STUDY = Study(
    name="preresnet",
    question=__doc__.splitlines()[0],
    example="configs/digits.py",
    settings=PreResNetSettings,
    variants=variants,
    stated=stated,
    baseline="none",
    findings=findings,
    same=SAME,
    claims=CLAIMS,
    labels=LABELS,
    layout=BASIC_LAYOUT,
)

if __name__ == "__main__":
    from benchmarks.harness.command import main

    main(STUDY)
