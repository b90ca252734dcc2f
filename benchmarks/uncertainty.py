"""Do trained networks know what they do not know, with one pass and with many masks?

python -m benchmarks.uncertainty --run runs/FOLDER --variant p6
"""

import sys
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.harness.arguments import Flag, tool
from benchmarks.harness.finished_run import FinishedRun, open_run
from benchmarks.harness.plan import cell_name
from flaxdrop.analysis import mc_predict
from flaxdrop.data import augment
from flaxdrop.metrics import brier, calibrated_ece, nll, reliability
from flaxdrop.plots.reliability import draw_reliability
from flaxdrop.results.statistics import summary
from flaxdrop.table import Table

_BATCH = 500


def compare(run: FinishedRun, name: str, samples: int) -> None:
    """Prints and draws how good the probabilities of a variant's networks are on the test set.

    Args:
      run: a finished run.
      name: of the variant.
      samples: how many masks.

    Raises:
      ValueError: no finished cell of such a variant, or one without dropout.
    """
    seeds = [row.seed for row in run.rows if row.variant == name]
    if not seeds:
        known = ", ".join(dict.fromkeys(row.variant for row in run.rows))
        raise ValueError(f"variant: must be one of {known}, got {name!r}")
    placement = run.plan.every_variant[name].placement
    if not placement.slots:
        raise ValueError(f"variant: must have dropout, got {name!r}: its masks do not differ")
    found = [_predict(run, name, seed, samples) for seed in seeds]
    one, mean, entropy, information = map(np.stack, zip(*found, strict=True))
    y = np.asarray(run.images.y_test)
    named = {"one pass": one, f"{samples} masks": mean}
    right = mean.argmax(-1) == y
    notes = [
        f"{len(seeds)} networks, means over seeds [95 % t interval over seeds]. A perfectly"
        " calibrated network of these confidences would seem to have the last column's error, by"
        " chance: bins of few images are never exactly right.",
        f"Predictive entropy over {samples} masks: {_split(entropy, right)}.",
        f"Mutual information over {samples} masks: {_split(information, right)}.",
    ]
    columns = (
        "prediction",
        "accuracy, %",
        "NLL, nats",
        "Brier score",
        "calibration error, %",
        "if calibrated, %",
    )
    cells = tuple((words, *_scores(p, y)) for words, p in named.items())
    title = f"{run.plan.name}, {name}: {placement}, {len(y)} test images"
    print(f"{title}\n")
    print(Table(columns, cells, tuple(notes)).text())
    path = run.plan.folder.picture(f"reliability-{name}")
    pooled = {
        words: reliability(p.reshape(-1, p.shape[-1]), np.tile(y, len(seeds)))
        for words, p in named.items()
    }
    draw_reliability(
        pooled, path, title="Are the probabilities honest?", subtitle=f"{title}, n = {len(seeds)}"
    )
    print(f"picture   {path}")


def _predict(run: FinishedRun, name: str, seed: int, samples: int) -> tuple[np.ndarray, ...]:
    """What the network of a seed says of the test images.

    Returns:
      `[N, K]`, probabilities of one pass without dropout; `[N, K]`, their mean over the masks;
      `[N]`, entropy of that mean, nats; `[N]`, mutual information of prediction and mask, nats.
    """
    model, variables, placement = run.load(cell_name(name, seed))
    images = run.images
    placement = placement.broadcast(model.slots)
    key = jax.random.key(seed)

    @jax.jit
    def predict(x: jax.Array, key: jax.Array) -> tuple[jax.Array, ...]:
        x = augment.normalise(x, images.mean, images.std)
        one = jax.nn.softmax(model.apply(variables, x))
        return one, *mc_predict(model, variables, x, placement, key=key, samples=samples)

    starts = range(0, len(images.x_test), _BATCH)
    parts = [images.x_test[first : first + _BATCH] for first in starts]
    found = [predict(x, jax.random.fold_in(key, i)) for i, x in enumerate(parts)]
    return tuple(np.concatenate(kind) for kind in zip(*found, strict=True))


def _scores(p: np.ndarray, y: np.ndarray) -> tuple[str, ...]:
    """Accuracy, likelihood, Brier score, calibration error and its bias, over the seeds."""
    accuracy = summary(100 * np.mean(p.argmax(-1) == y, axis=1))
    likelihood = summary([float(nll(jnp.asarray(own), y)) for own in p])
    score = summary([float(brier(own, y)) for own in p])
    error = summary([100 * reliability(own, y).ece for own in p])
    chance = np.mean([100 * calibrated_ece(own) for own in p])
    return f"{accuracy:.2f}", f"{likelihood:.4f}", f"{score:.4f}", f"{error:.2f}", f"{chance:.2f}"


def _split(values: np.ndarray, right: np.ndarray) -> str:
    groups = (("right", right), ("wrong", ~right))
    words = [
        f"{values[own].mean():.4f} nats where it is {name}" for name, own in groups if own.any()
    ]
    return ", ".join(words)


FLAGS = (
    Flag("run", "", "the folder of a run", required=True),
    Flag("variant", "", "one variant of it, for example p6", required=True),
    Flag("samples", 50, "how many dropout masks to average over"),
    Flag("data_dir", "", "where the data of the run are; as in the run"),
)


@tool(__doc__, FLAGS)
def main(options: SimpleNamespace) -> None:
    """Runs the tool."""
    compare(open_run(options.run, options.data_dir), options.variant, options.samples)


if __name__ == "__main__":
    sys.exit(main())
