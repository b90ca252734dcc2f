"""Does a trained network know what it does not know, with one pass and with many masks?

python -m benchmarks.uncertainty --run runs/FOLDER --cell p6-seed0
"""

import sys
from collections.abc import Sequence
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.harness.arguments import Flag, run_command
from benchmarks.probe import Run, open_run
from flaxdrop.analysis import mc_predict
from flaxdrop.data import augment
from flaxdrop.metrics import brier, nll, reliability
from flaxdrop.plots.reliability import draw_reliability
from flaxdrop.table import Table

_BATCH = 500


def compare(run: Run, cell: str, samples: int) -> None:
    """Prints and draws how good the probabilities of a trained network are on the test set.

    Raises:
      ValueError: no such cell, or one without dropout.
    """
    row = run.row(cell)
    variant = run.plan.every_variant[row.variant]
    if not variant.placement.slots:
        raise ValueError(f"cell: {cell} has no dropout, so its masks do not differ; choose another")
    _, variables = run.variables(row.variant, row.seed)
    model, images = variant.model, run.images
    placement = variant.placement.broadcast(model.slots)
    key = jax.random.key(row.seed)

    @jax.jit
    def once(x: jax.Array) -> jax.Array:
        logits: jax.Array = model.apply(variables, augment.normalise(x, images.mean, images.std))
        return jax.nn.softmax(logits)

    @jax.jit
    def many(x: jax.Array, key: jax.Array) -> tuple[jax.Array, ...]:
        x = augment.normalise(x, images.mean, images.std)
        return mc_predict(model, variables, x, placement, key=key, samples=samples)

    starts = range(0, len(images.x_test), _BATCH)
    parts = [images.x_test[first : first + _BATCH] for first in starts]
    one = np.concatenate([once(x) for x in parts])
    drawn = [many(x, jax.random.fold_in(key, i)) for i, x in enumerate(parts)]
    mean, entropy, information = (np.concatenate(part) for part in zip(*drawn, strict=True))
    y = np.asarray(images.y_test)
    named = {"one pass": one, f"{samples} masks": mean}
    bins = {name: reliability(p, y) for name, p in named.items()}
    cells = [
        (
            name,
            f"{100 * np.mean(p.argmax(-1) == y):.2f}",
            f"{nll(jnp.asarray(p), y):.4f}",
            f"{brier(p, y):.4f}",
            f"{100 * bins[name].ece:.2f}",
        )
        for name, p in named.items()
    ]
    right = mean.argmax(-1) == y
    notes = [
        f"{name} over {samples} masks: {_split(values, right)}."
        for name, values in (("Predictive entropy", entropy), ("Mutual information", information))
    ]
    columns = ("prediction", "accuracy, %", "NLL, nats", "Brier score", "calibration error, %")
    print(f"{run.plan.name}, {cell}: {variant.placement}, {len(y)} test images\n")
    print(Table(columns, tuple(cells), tuple(notes)).text())
    path = run.plan.folder.picture(f"reliability-{cell}")
    draw_reliability(bins, path, title=f"{run.plan.name}, {cell}: {variant.placement}")
    print(f"picture   {path}")


def _split(values: np.ndarray, right: np.ndarray) -> str:
    groups = (("right", right), ("wrong", ~right))
    means = ((name, values[group].mean()) for name, group in groups if group.any())
    return ", ".join(f"{mean:.4f} nats where it is {name}" for name, mean in means)


FLAGS = (
    Flag("run", "", "the folder of a run", required=True),
    Flag("cell", "", "one network of it, for example p6-seed0", required=True),
    Flag("samples", 50, "how many dropout masks to average over"),
    Flag("data_dir", "", "where the data of the run are; as in the run"),
)


def main(arguments: Sequence[str]) -> int:
    """Runs the tool as a command line says; returns the exit status."""

    def run(options: SimpleNamespace) -> None:
        compare(open_run(options.run, 2, options.data_dir), options.cell, options.samples)

    return run_command(__doc__, FLAGS, run, arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
