"""Does dropout after the dense layer of a small convolutional network help?

    python -m benchmarks.templates.study --config benchmarks/templates/config.py

This is a template. Copy it and the config to a folder of your own, change both, and run it:
`python my_study.py --config my_config.py`. Or copy them to benchmarks/NAME.py and configs/NAME.py,
change the command above, and add NAME to `STUDIES` in benchmarks/harness/catalog.py: then
`python -m benchmarks` lists the study, and tests/benchmarks/test_studies.py checks it.
"""

import dataclasses
from collections.abc import Iterator, Mapping

from benchmarks.harness.plan import Plan
from benchmarks.harness.settings import Settings
from benchmarks.harness.study import Study
from benchmarks.harness.variants import Variant
from flaxdrop.models import ConvNet
from flaxdrop.placement import Placement
from flaxdrop.results.comparison import Comparison


@dataclasses.dataclass(frozen=True, kw_only=True)
class TemplateSettings(Settings):
    """The network of the study. Every field can be overridden: `--config.units=32`.

    `Settings` checks fields of these names; checks of your own go into `__post_init__`.

    Attributes:
      units: of the dense layer, at least 1.
      rates: of the dropout layer, each in [0, 1].
    """

    units: int = 64
    rates: tuple[float, ...] = (0.2, 0.5)


def variants(settings: TemplateSettings, classes: int) -> Mapping[str, Variant]:
    """No dropout, and dropout at every rate: the rows of the table, in its order."""
    model = ConvNet(classes, widths=(8,), units=settings.units, dtype=settings.dtype)
    return {"none": Variant(model, Placement())} | {
        f"dense {rate:g}": Variant(model, Placement({"dense": rate})) for rate in settings.rates
    }


def findings(plan: Plan[TemplateSettings], comparison: Comparison) -> Iterator[str]:
    """What the table and the pictures do not show: lines to print after the run. Optional."""
    best = max(comparison.rows, key=lambda row: row.last_accuracy)
    yield f"best      {best.variant} with {plan.settings.units} units, seed {best.seed}"


STUDY = Study(
    name="templates.study",
    question=__doc__.splitlines()[0],
    example="benchmarks/templates/config.py",
    settings=TemplateSettings,
    variants=variants,
    # published=: settings -> variant -> published accuracy, in [0, 1], if there is one.
    baseline="none",
    findings=findings,
)

if __name__ == "__main__":
    # Imported here: a config loads its study, and must not load all that trains.
    from benchmarks.harness.command import main

    main(STUDY)
