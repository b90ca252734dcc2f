"""What weights does a DenseNet learn here, for others to be trained on its features?

    python -m benchmarks.pretrain --config configs/pretrain_cifar100.py:tiny

They are written beside the ledger, in timm's format, for `benchmarks.transfer`.
"""

import dataclasses
from collections.abc import Iterator, Mapping

from benchmarks.harness.plan import Plan
from benchmarks.harness.settings import Settings
from benchmarks.harness.study import Study
from benchmarks.harness.variants import Variant
from flaxdrop.models import DenseNet
from flaxdrop.placement import Placement
from flaxdrop.results.comparison import Comparison
from flaxdrop.weights import save_pretrained

_VARIANT = "densenet"


@dataclasses.dataclass(frozen=True, kw_only=True)
class PretrainSettings(Settings):
    """The network of a pretraining.

    Attributes:
      layers: of every dense block; those of DenseNet-121 by default.
      growth: channels that a layer adds.
    """

    layers: tuple[int, ...] = (6, 12, 24, 16)
    growth: int = 32


def variants(settings: PretrainSettings, classes: int) -> Mapping[str, Variant]:
    """One network, without dropout."""
    model = DenseNet(settings.layers, classes, growth=settings.growth, dtype=settings.dtype)
    return {_VARIANT: Variant(model, Placement())}


def findings(plan: Plan[PretrainSettings], comparison: Comparison) -> Iterator[str]:
    """The weights of every finished seed, in a file."""
    for row in comparison.rows:
        if row.status == "finished" and (trained := plan.trained(_VARIANT, row.seed)):
            path = plan.folder.path / f"{_VARIANT}-seed{row.seed}.safetensors"
            save_pretrained(trained, path)
            yield f"weights   {path}"


STUDY = Study(
    name="pretrain",
    question=__doc__.splitlines()[0],
    example="configs/pretrain_cifar100.py:tiny",
    settings=PretrainSettings,
    variants=variants,
    # No published numbers: it makes weights for another study.
    baseline=_VARIANT,
    findings=findings,
    needs={"safetensors": "pretrained"},
)

if __name__ == "__main__":
    from benchmarks.harness.command import main

    main(STUDY)
