"""Which position of dropout in a pre-activation residual network helps, which hurts?

Kim et al., "How to Use Dropout Correctly on Residual Networks with Batch Normalization", UAI 2023.

    python -m benchmarks.preresnet --config configs/digits.py
"""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence

from benchmarks.harness.plan import Plan
from benchmarks.harness.settings import Settings
from benchmarks.harness.study import Study
from benchmarks.harness.variants import Variant
from flaxdrop.mask import parse_mask
from flaxdrop.models.preresnet import BOTTLENECK_SLOTS, PreResNet
from flaxdrop.placement import Placement
from flaxdrop.results.ledger import Row

# Test accuracy of PreResNet-110 in the paper; its position and rate are not stated.
SCORES = {"cifar10": 0.944367, "cifar100": 0.7398}

POSITIONS = ("p0", "p1", "p2", "p3", "p4", "p5", "p6", "p7")


@dataclasses.dataclass(frozen=True, kw_only=True)
class PreResNetSettings(Settings):
    """The network and the dropout of the position table.

    Attributes:
      depth: 6n + 2 with basic blocks, 9n + 2 with bottlenecks.
      block: "basic" or "bottleneck".
      widths: channels of the stages.
      rate: of the dropout layers of every variant, in [0, 1].
      mask: what is dropped together.
    """

    depth: int
    block: str = "basic"
    widths: tuple[int, ...] = (16, 32, 64)
    rate: float = 0.1
    mask: str = "element"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.rate <= 1:
            raise ValueError(f"rate: must be in [0, 1], got {self.rate}")
        parse_mask(self.mask)
        if not self.widths or min(self.widths) < 1:
            raise ValueError(f"widths: must be one number or more above 0, got {self.widths}")
        _ = self.network(classes=2).blocks_per_stage

    def network(self, classes: int) -> PreResNet:
        """The network that all variants share."""
        return PreResNet(
            depth=self.depth,
            num_classes=classes,
            block=self.block,
            widths=self.widths,
            dtype=self.dtype,
        )


def variants(settings: PreResNetSettings, classes: int) -> Mapping[str, Variant]:
    """No dropout, and dropout at one place of every block: a variant for each place."""
    model = settings.network(classes)
    slots = POSITIONS if settings.block == "basic" else BOTTLENECK_SLOTS
    return {"none": Variant(model, Placement())} | {
        slot: Variant(model, Placement({slot: settings.rate}, {slot: settings.mask}))
        for slot in slots
    }


def stated(settings: PreResNetSettings) -> str:
    """The paper's score on the dataset, and what is not known about it."""
    if settings.dataset not in SCORES:
        return ""
    return (
        f"Published for PreResNet-110 with dropout: {100 * SCORES[settings.dataset]:.6g} %,"
        " position and rate not stated; inferred: the best epoch, a mean over 3 seeds"
    )


def findings(plan: Plan[PreResNetSettings], rows: Sequence[Row]) -> Iterator[str]:
    """How much of each position's harm was the shift of its batch norms: it is repaired."""
    from benchmarks.findings.recalibration import repair_table

    table = repair_table(plan, rows)
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
    nulls=(("p5", "p6"), ("p2", "p3")),
)

if __name__ == "__main__":
    from benchmarks.harness.command import main

    main(STUDY)
