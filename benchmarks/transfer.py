"""Why does dropout before the classifier help on the features of a frozen network?

Question D: features of DenseNet-121, dropout before the classifier (or after it, or before the
pooling), and a classifier of 9 classes that alone is trained.

    python -m benchmarks.transfer --config configs/transfer_digits.py
    python -m benchmarks.transfer --config configs/transfer_cifar10.py --config.weights=FILE
"""

import dataclasses
import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from benchmarks.findings.transfer import answer
from benchmarks.harness.plan import Plan
from benchmarks.harness.settings import Settings
from benchmarks.harness.study import Study
from benchmarks.harness.variants import Variant, at_rates, names_at_rates
from flaxdrop.models import DenseNet, Head
from flaxdrop.results.comparison import Comparison
from flaxdrop.results.regime import regime
from flaxdrop.training.frozen import FrozenNetwork
from flaxdrop.training.recipe import require
from flaxdrop.weights import download_pretrained, load_pretrained
from flaxdrop.weights.download import PUBLISHED

PLACES = {
    "before pooling": ("h4",),
    "before classifier": ("h5",),
    "after classifier": ("logits",),
}
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
        if not self.weights:
            raise ValueError(
                "weights: must be a file, untrained or one of"
                f" {', '.join(PUBLISHED)}, got ''; python -m benchmarks.pretrain --config"
                " configs/pretrain_cifar100.py:tiny makes a file"
            )
        for name, off in (("crop", 0), ("flip", False)):
            value = getattr(self, name)
            require(value == off, name, value, f"{off}, for the features are computed once")


def frozen(settings: TransferSettings) -> FrozenNetwork:
    """The network that gives the features.

    Raises:
      ValueError: weights that cannot be read, downloaded or do not fit.
    """
    keras = settings.weights.startswith("keras-") or settings.weights.endswith(".h5")
    epsilon = _KERAS_EPSILON if keras else 1e-5
    model = DenseNet(settings.layers, 0, growth=settings.growth, epsilon=epsilon)
    if settings.weights == UNTRAINED:
        return FrozenNetwork(model, jax.jit(model.init)(jax.random.key(0), _IMAGE))
    path: Any = settings.weights
    if settings.weights in PUBLISHED:
        path = download_pretrained(settings.weights)
    variables = load_pretrained(model, path)
    with open(path, "rb") as file:
        return FrozenNetwork(model, variables, hashlib.file_digest(file, "sha256").hexdigest())


_IMAGE = jnp.zeros((1, 32, 32, 3), jnp.float32)


def variants(settings: TransferSettings, classes: int) -> Mapping[str, Variant]:
    """No dropout, and every place at every rate."""
    return at_rates(Head(classes), PLACES, settings.rates)


def findings(plan: Plan[TransferSettings], comparison: Comparison) -> Iterator[str]:
    """The claim, our numbers, the explanation; and a picture by rate."""
    from flaxdrop.plots.rates import draw_rates

    found = answer(comparison, plan.images.x_train)
    (plan.folder.path / "answer.md").write_text(found.markdown())
    yield found.text()
    path = plan.folder.picture("rates")
    draw_rates(
        comparison,
        path,
        places=names_at_rates(PLACES, plan.settings.rates),
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
