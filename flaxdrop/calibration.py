"""How good predicted probabilities are: likelihood, Brier score, calibration error."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

BINS = 15  # Guo et al. 2017


def bin_of(confidence: jax.Array) -> jax.Array:
    """The bin of a confidence, int32 in [0, BINS): all of equal width, closed on the right.

    >>> bin_of(jnp.array([0.0, 1 / 15, 0.07, 1.0])).tolist()
    [0, 0, 1, 14]
    """
    return jnp.clip(jnp.ceil(confidence * BINS) - 1, 0, BINS - 1).astype(jnp.int32)


def brier(probabilities: jax.typing.ArrayLike, labels: jax.typing.ArrayLike) -> jax.Array:
    """The Brier score (1950): squared distance to the one-hot label, mean over examples, in [0, 2].

    Args:
      probabilities: `[N, K]`.
      labels: int `[N]`.

    >>> float(brier([[0.5, 0.5]], [1]))
    0.5
    """
    p = jnp.asarray(probabilities)
    return jnp.mean(jnp.sum((p - jax.nn.one_hot(jnp.asarray(labels), p.shape[-1])) ** 2, axis=-1))


def nll(probabilities: jax.typing.ArrayLike, labels: jax.typing.ArrayLike) -> jax.Array:
    """Negative log-likelihood of the labels, mean over examples, nats; infinite at probability 0.

    Args:
      probabilities: `[N, K]`.
      labels: int `[N]`.

    >>> round(float(nll([[0.5, 0.5], [1.0, 0.0]], [1, 0])), 4)
    0.3466
    """
    p = jnp.asarray(probabilities)
    return -jnp.mean(jnp.log(jnp.take_along_axis(p, jnp.asarray(labels)[:, None], axis=-1)))


@dataclasses.dataclass(frozen=True, eq=False)
class Reliability:
    """Confidence and accuracy by bin of confidence; NaN in a bin without examples.

    Attributes:
      confidence: `[BINS]`, mean largest probability.
      accuracy: `[BINS]`, share of examples that are right.
      count: `[BINS]`, of examples.
    """

    confidence: np.ndarray
    accuracy: np.ndarray
    count: np.ndarray

    @property
    def ece(self) -> float:
        """Expected calibration error: mean distance of accuracy and confidence, in [0, 1]."""
        gaps = np.nan_to_num(np.abs(self.accuracy - self.confidence))
        return float(np.sum(self.count * gaps) / np.sum(self.count))


def reliability(probabilities: jax.typing.ArrayLike, labels: jax.typing.ArrayLike) -> Reliability:
    """Sorts examples into bins of confidence (Guo et al. 2017).

    Args:
      probabilities: `[N, K]`.
      labels: int `[N]`.

    Raises:
      ValueError: no examples.

    >>> found = reliability([[0.9, 0.1], [0.8, 0.2]], [0, 1])
    >>> round(found.ece, 6)
    0.45
    """
    p, y = np.asarray(probabilities, np.float64), np.asarray(labels)
    if not len(p):
        raise ValueError("probabilities: must have at least one example, got none")
    confidence = p.max(axis=-1)
    bins = np.asarray(bin_of(jnp.asarray(confidence, jnp.float32)))
    count = np.bincount(bins, minlength=BINS)
    sums = [np.bincount(bins, weights=of, minlength=BINS) for of in (confidence, p.argmax(-1) == y)]
    with np.errstate(invalid="ignore"):
        return Reliability(sums[0] / count, sums[1] / count, count)
