"""Why does dropout before the classifier help on the features of a frozen network?

Question D: features of DenseNet-121, dropout before the classifier (or after it, or before the
pooling), and a classifier of 9 classes that alone is trained.

    python -m benchmarks.transfer --config configs/transfer_digits.py
    python -m benchmarks.transfer --config configs/transfer_cifar10.py --config.weights=FILE
"""

import dataclasses
import hashlib
from collections.abc import Iterator, Mapping, Sequence

import jax
import jax.numpy as jnp

from benchmarks.findings.transfer import answer
from benchmarks.harness.plan import Plan
from benchmarks.harness.settings import Settings
from benchmarks.harness.study import Study
from benchmarks.harness.variants import Variant
from benchmarks.pretrain import check_network
from flaxdrop.models import DenseNet, Head
from flaxdrop.placement import Placement
from flaxdrop.results.comparison import Comparison
from flaxdrop.results.regime import regime
from flaxdrop.training.frozen import FrozenNetwork
from flaxdrop.weights import download_pretrained, load_pretrained
from flaxdrop.weights.download import PUBLISHED

PLACES = {"before pooling": "h4", "before classifier": "h5", "after classifier": "logits"}
UNTRAINED = "untrained"
_KERAS_EPSILON = 1.001e-5


@dataclasses.dataclass(frozen=True, kw_only=True)
class TransferSettings(Settings):
    """The frozen network and the dropout layers of its head.

    Attributes:
      weights: of the frozen network: a file (.h5 of Keras, .pth of torchvision, .safetensors of
        timm or of `benchmarks.pretrain`), the name of a published one ("keras-densenet121", which
        is downloaded), or "untrained".
      layers: of every dense block; those of DenseNet-121 by default.
      growth: channels that a layer adds.
      rates: of the dropout layers, each in [0, 1].
    """

    weights: str
    layers: tuple[int, ...] = (6, 12, 24, 16)
    growth: int = 32
    rates: tuple[float, ...] = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_network(self.layers, self.growth)
        if not self.weights:
            raise ValueError(
                "weights: must be a file, untrained or one of"
                f" {', '.join(PUBLISHED)}, got ''; python -m benchmarks.pretrain --config"
                " configs/pretrain_cifar100.py:tiny makes a file"
            )
        if not self.rates or not all(0 <= rate <= 1 for rate in self.rates):
            raise ValueError(f"rates: must be one or more in [0, 1], got {self.rates}")
        for name in ("crop", "flip"):
            if getattr(self, name):
                raise ValueError(
                    f"{name}: must be {type(getattr(self, name))()}, for the features are computed"
                    f" once, got {getattr(self, name)}"
                )


def frozen(settings: TransferSettings) -> FrozenNetwork:
    """The network that gives the features.

    Raises:
      ValueError: weights that cannot be read, downloaded or do not fit.
    """
    keras = settings.weights.startswith("keras-") or settings.weights.endswith(".h5")
    model = DenseNet(
        settings.layers,
        num_classes=0,
        growth=settings.growth,
        epsilon=_KERAS_EPSILON if keras else 1e-5,
    )
    if settings.weights == UNTRAINED:
        return FrozenNetwork(model, jax.jit(model.init)(jax.random.key(0), _IMAGE))
    path = (
        download_pretrained(settings.weights) if settings.weights in PUBLISHED else settings.weights
    )
    variables = load_pretrained(model, path)
    with open(path, "rb") as file:
        return FrozenNetwork(model, variables, hashlib.file_digest(file, "sha256").hexdigest())


_IMAGE = jnp.zeros((1, 32, 32, 3), jnp.float32)


def variants(settings: TransferSettings, classes: int) -> Mapping[str, Variant]:
    """No dropout, and every place at every rate."""
    head = Head(classes)
    return {"none": Variant(head, Placement())} | {
        name: Variant(head, Placement({PLACES[place]: rate}))
        for place, by_rate in _by_place(settings.rates).items()
        for rate, name in by_rate.items()
    }


def _by_place(rates: Sequence[float]) -> Mapping[str, Mapping[float, str]]:
    return {place: {rate: f"{place} {rate:g}" for rate in rates} for place in PLACES}


def findings(plan: Plan[TransferSettings], comparison: Comparison) -> Iterator[str]:
    """The claim, our numbers, the explanation; and a picture by rate."""
    from flaxdrop.plots.rates import draw_rates

    found = answer(comparison, plan.images.x_train)
    (plan.folder.path / "answer.md").write_text(found.markdown())
    yield found.text()
    path = plan.folder.picture("rates")
    places = _by_place(plan.settings.rates)
    draw_rates(
        comparison,
        path,
        places=places,
        title="Where does dropout help on the features of a frozen network, at what rate?",
        subtitle=regime(comparison),
    )
    yield f"answer    {plan.folder.path / 'answer.md'}, {path}"


STUDY = Study(
    name="transfer",
    question=__doc__.splitlines()[0],
    example="configs/transfer_digits.py",
    settings=TransferSettings,
    variants=variants,
    # No published numbers: those of the question are of its own images.
    baseline="none",
    frozen=frozen,
    findings=findings,
)

if __name__ == "__main__":
    from benchmarks.harness.command import main

    main(STUDY)
