"""Dropout at P6 that changes during training, or with depth: does a schedule help?

Constant, growing linearly, early or late alone (Liu et al. 2023), curriculum (Morerio et al. 2017),
and growing linearly with depth as in stochastic depth. One compiled program trains all of them.

    python -m benchmarks.schedules --config configs/schedules_digits.py
"""

from collections.abc import Iterator, Mapping

from benchmarks.harness.plan import Plan
from benchmarks.harness.study import Study
from benchmarks.harness.variants import Variant
from benchmarks.preresnet import PreResNetSettings
from flaxdrop.placement import Placement
from flaxdrop.results.claims import Claim
from flaxdrop.results.comparison import Comparison
from flaxdrop.schedule import DROPOUT_SCHEDULES

SLOT = "p6"
OVER_DEPTH = "over depth"
CLAIMS = (
    Claim(
        "Early dropout helps (of an underfitting ViT-T)", "Liu et al. 2023", (("early", "none"),)
    ),
    Claim(
        "Early dropout hurts (in one epoch of pretraining)",
        "Drop Dropout, ACL Findings 2025",
        (("early", "none"),),
        sign=-1,
    ),
)


def variants(settings: PreResNetSettings, classes: int) -> Mapping[str, Variant]:
    """No dropout, every schedule over the training, and the linear one over depth."""
    model = settings.network(classes)
    whole = Placement({SLOT: settings.rate}, {SLOT: settings.mask})
    by_depth = Placement.parse(f"{SLOT}=0..{settings.rate}:{settings.mask}")
    return (
        {"none": Variant(model, Placement())}
        | {name: Variant(model, whole, name) for name in DROPOUT_SCHEDULES}
        | {OVER_DEPTH: Variant(model, by_depth, "constant")}
    )


def findings(plan: Plan[PreResNetSettings], comparison: Comparison) -> Iterator[str]:
    """The schedules themselves, as a picture."""
    from flaxdrop.plots.schedules import draw_schedules

    del comparison
    settings = plan.settings
    path = plan.folder.picture("schedules")
    draw_schedules(path, rate=settings.rate, switch=settings.dropout_switch, epochs=settings.epochs)
    yield f"schedules {path}"


STUDY = Study(
    name="schedules",
    question=__doc__.splitlines()[0],
    example="configs/schedules_digits.py",
    settings=PreResNetSettings,
    variants=variants,
    # No published numbers: what is published on schedules is of other networks.
    baseline="none",
    claims=CLAIMS,
    findings=findings,
)

if __name__ == "__main__":
    from benchmarks.harness.command import main

    main(STUDY)
