"""How good predicted probabilities are: likelihood, Brier score, calibration error."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

BINS = 15  # Guo et al. 2017
_ROUNDING = 0.01  # of a sum of probabilities; those of a bf16 softmax are off by half of it


def bin_of(confidence: jax.Array) -> jax.Array:
    """The bin of a confidence, int32 in [0, BINS): all of equal width, closed on the right.

    Args:
      confidence: in [0, 1], any shape; may be traced, and is not checked: NaN has no bin, and is
        put into some.

    >>> bin_of(jnp.array([0.0, 1 / 15, 0.07, 1.0])).tolist()
    [0, 0, 1, 14]
    """
    return jnp.clip(jnp.ceil(confidence * BINS) - 1, 0, BINS - 1).astype(jnp.int32)


def brier(probabilities: jax.typing.ArrayLike, labels: jax.typing.ArrayLike) -> jax.Array:
    """The Brier score (1950): squared distance to the one-hot label, mean over examples, in [0, 2].

    Args:
      probabilities: `[N, K]`, each row in [0, 1] and of sum 1, to the rounding of a bf16 softmax.
      labels: int `[N]`, in [0, K).

    Raises:
      ValueError: they are not so, as logits, NaN or labels `[N, 1]`; of traced ones shapes and
        dtypes are checked, for their values are not known. Or no examples.

    >>> float(brier([[0.5, 0.5]], [1]))
    0.5
    """
    p, y = _checked(probabilities, labels)
    return jnp.mean(jnp.sum((p - jax.nn.one_hot(y, p.shape[-1])) ** 2, axis=-1))


def nll(probabilities: jax.typing.ArrayLike, labels: jax.typing.ArrayLike) -> jax.Array:
    """Negative log-likelihood of the labels, mean over examples, nats; infinite at probability 0.

    Arguments and errors are those of `brier`.

    >>> round(float(nll([[0.5, 0.5], [1.0, 0.0]], [1, 0])), 4)
    0.3466
    """
    p, y = _checked(probabilities, labels)
    return -jnp.mean(jnp.log(jnp.take_along_axis(p, y[:, None], axis=-1)))


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

    Arguments and errors are those of `brier`.

    >>> found = reliability([[0.9, 0.1], [0.8, 0.2]], [0, 1])
    >>> round(found.ece, 6)
    0.45
    """
    _checked(probabilities, labels)
    p, y = np.asarray(probabilities, np.float64), np.asarray(labels)
    confidence = p.max(axis=-1)
    bins = np.asarray(bin_of(jnp.asarray(confidence, jnp.float32)))
    count = np.bincount(bins, minlength=BINS)
    sums = [
        np.bincount(bins, weights=values, minlength=BINS)
        for values in (confidence, p.argmax(-1) == y)
    ]
    with np.errstate(invalid="ignore"):
        return Reliability(sums[0] / count, sums[1] / count, count)


def calibrated_ece(probabilities: jax.typing.ArrayLike, draws: int = 100) -> float:
    """Returns the calibration error that a perfectly calibrated network would seem to have.

    With few examples no bin is exactly as right as it is confident, by chance alone: a measured
    error is biased upwards. Judge it beside this one.

    Args:
      probabilities: `[N, K]`, those of the network; its confidences are taken to be true.
      draws: how many times the right and wrong answers are drawn, at least 1.

    Returns:
      The mean of `Reliability.ece` over the draws, in [0, 1].

    Raises:
      ValueError: as `brier`, or `draws` below 1.

    >>> 0.01 < calibrated_ece([[0.8, 0.2]] * 400) < 0.03
    True
    """
    if draws < 1:
        raise ValueError(f"draws: must be at least 1, got {draws}")
    p = np.asarray(probabilities, np.float64)
    _checked(p, np.zeros(len(p), np.int32))
    confidence = p.max(axis=-1)
    bins = np.asarray(bin_of(jnp.asarray(confidence, jnp.float32)))
    right = np.random.default_rng(0).random((draws, len(p))) < confidence
    by_bin = np.stack([(right - confidence)[:, bins == i].sum(axis=1) for i in range(BINS)])
    return float(np.abs(by_bin).sum(axis=0).mean() / len(p))


def _checked(
    probabilities: jax.typing.ArrayLike, labels: jax.typing.ArrayLike
) -> tuple[jax.Array, jax.Array]:
    """Both as arrays, the probabilities at least f32, after what can be checked of them."""
    p, y = jnp.asarray(probabilities), jnp.asarray(labels)
    if p.ndim != 2 or not p.size:
        raise ValueError(f"probabilities: must be [N, K], with an example, got shape {p.shape}")
    if y.shape != p.shape[:1] or not jnp.issubdtype(y.dtype, jnp.integer):
        raise ValueError(f"labels: must be int [{len(p)}], got {y.dtype} of shape {y.shape}")
    if not isinstance(p, jax.core.Tracer):
        rows = np.asarray(p, np.float64)
        outside = ~((rows >= 0) & (rows <= 1 + _ROUNDING))  # NaN too
        if outside.any():
            raise ValueError(
                f"probabilities: must be in [0, 1], got {rows[outside][0]:g} in row"
                f" {outside.any(-1).argmax()}"
            )
        sums = rows.sum(-1)
        off = np.abs(sums - 1)
        if off.max() > _ROUNDING:
            raise ValueError(
                f"probabilities: must sum to 1 in every row, got {sums[off.argmax()]:g} in row"
                f" {off.argmax()}"
            )
    if not isinstance(y, jax.core.Tracer):
        known = np.asarray(y)
        wrong = known[(known < 0) | (known >= p.shape[1])]
        if wrong.size:
            raise ValueError(f"labels: must be in [0, {p.shape[1]}), got {wrong[0]}")
    return p.astype(jnp.promote_types(p.dtype, jnp.float32)), y
