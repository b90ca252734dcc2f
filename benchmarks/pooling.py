"""Dropout before or after pooling: does the order matter, for which mask and pooling?

python -m benchmarks.pooling --config configs/pooling_digits.py
"""

import dataclasses
from collections.abc import Iterator, Mapping

import jax
import jax.numpy as jnp

from benchmarks.harness.plan import Plan
from benchmarks.harness.settings import Settings
from benchmarks.harness.study import Study
from benchmarks.harness.variants import Variant
from flaxdrop.data.augment import normalise
from flaxdrop.models.convnet import ConvNet
from flaxdrop.ops.pooling import POOLINGS, pool
from flaxdrop.placement import Placement
from flaxdrop.results.claims import Claim
from flaxdrop.results.comparison import Comparison
from flaxdrop.table import Table
from flaxdrop.theory.pooling import ORDERS, closed_form, measured, pair
from flaxdrop.training.recipe import require

MASKS = ("element", "channel")
SAME = tuple((f"{pooling} channel after", f"{pooling} channel before") for pooling in POOLINGS)
CLAIMS = (
    Claim(
        "Channel-wise, the order of dropout and pooling makes no difference",
        "the question on pooling",
        tuple((before, after) for after, before in SAME),
        proof="tests/theory/test_pooling.py::test_with_a_channel_mask_both_orders_are_one_function",
    ),
)
_IMAGES = 16  # whose activations the facts are measured on
_REPEATS = 50


@dataclasses.dataclass(frozen=True, kw_only=True)
class PoolingSettings(Settings):
    """The network and the dropout of the pooling study.

    Attributes:
      widths: filters of the blocks; as many blocks.
      units: of the dense layer.
      rate: of the dropout around every pooling, in [0, 1).
      dense_rate: of the one after the dense layer, in [0, 1].
    """

    widths: tuple[int, ...] = (32, 64)
    units: int = 256
    rate: float = 0.25
    dense_rate: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.rate < 1, "rate", self.rate, "in [0, 1)")

    def network(self, classes: int, pooling: str) -> ConvNet:
        """The network that the variants of a pooling share."""
        return ConvNet(classes, pooling, self.widths, self.units, self.dtype)


def variants(settings: PoolingSettings, classes: int) -> Mapping[str, Variant]:
    """Every pooling, mask and order; the network of the question is "max element after"."""
    return {
        f"{pooling} {mask} {order}": Variant(
            settings.network(classes, pooling),
            Placement(
                {f"{order}_pool": settings.rate, "dense": settings.dense_rate},
                {f"{order}_pool": mask},
            ),
        )
        for pooling in POOLINGS
        for mask in MASKS
        for order in ORDERS
    }


def findings(plan: Plan[PoolingSettings], comparison: Comparison) -> Iterator[str]:
    """What the pair does to the activations at the first pooling, whatever was trained."""
    del comparison
    x = _activations(plan)
    table = facts(x, plan.settings.rate)
    path = plan.folder.path / "facts.md"
    path.write_text(table.markdown())
    yield f"What dropout and the first pooling make of {len(x)} test images, before any training:\n"
    yield table.text()
    yield f"facts     {path}"


def facts(x: jax.Array, rate: float) -> Table:
    """Zeros, mean and variance after dropout and pooling, measured and in closed form.

    Args:
      x: activations after a ReLU, `[N, H, W, C]`.
      rate: of the dropout, in [0, 1).
    """
    cells = []
    for pooling in POOLINGS:
        for order in ORDERS:
            kind = {"order": order, "pooling": pooling}
            exact = dataclasses.astuple(closed_form(x, rate, **kind))
            found, errors = measured(jax.random.key(0), x, rate, **kind, repeats=_REPEATS)
            sides = zip(dataclasses.astuple(found), dataclasses.astuple(errors), exact, strict=True)
            words = (f"{value:.4g} ± {error:.1g} ({form:.4g})" for value, error, form in sides)
            pooled = float(jnp.mean(pool(x, pooling)))
            cells.append((f"{pooling} element {order}", *words, f"{pooled:.4g}"))
    columns = ("variant", "zeros", "mean", "variance under the mask", "mean at inference")
    notes = [
        f"Rate {rate:g}. Measured ± standard error over {2 * _REPEATS} masks (closed form); without"
        f" dropout {float(jnp.mean(pool(x, POOLINGS[0]) == 0)):.4g} of the units are zero.",
        *(_channel_note(x, each_rate) for each_rate in dict.fromkeys((rate, 0.5))),
    ]
    return Table(columns, tuple(cells), tuple(notes))


def _channel_note(x: jax.Array, rate: float) -> str:
    words = []
    for pooling in POOLINGS:
        before, after = (
            jax.jit(pair, static_argnames=("order", "pooling", "mask"))(
                jax.random.key(0), x, rate, order=order, pooling=pooling, mask="channel"
            )
            for order in ORDERS
        )
        apart = float(jnp.max(jnp.abs(before - after)) / jnp.max(jnp.abs(after)))
        words.append(
            f"{pooling} pooling "
            + ("equal to the bit" if apart == 0 else f"differ by {apart:.1e} of the largest")
        )
    return f"Channel-wise at rate {rate:g}, the two orders with the same mask: {', '.join(words)}."


def _activations(plan: Plan[PoolingSettings]) -> jax.Array:
    """What comes to the first pooling of the untrained network of seed 0, f32."""
    images = plan.pixels
    x = normalise(jnp.asarray(images.x_test[:_IMAGES]), images.mean, images.std)
    model = plan.settings.network(plan.dataset.num_classes, POOLINGS[0])
    variables = model.init(jax.random.key(0), x[:1])
    _, state = model.apply(
        variables,
        x,
        capture_intermediates=lambda module, _: getattr(module, "slot", None) == "before_pool",
        mutable=["intermediates"],
    )
    (first,) = jax.tree.leaves(state["intermediates"]["block1"])
    return first.astype(jnp.float32)


STUDY = Study(
    name="pooling",
    question=__doc__.splitlines()[0],
    example="configs/pooling_digits.py",
    settings=PoolingSettings,
    variants=variants,
    # No published numbers: the question comes without numbers.
    baseline="max element after",
    same=SAME,
    claims=CLAIMS,
    findings=findings,
)

if __name__ == "__main__":
    from benchmarks.harness.command import main

    main(STUDY)
