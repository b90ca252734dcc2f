import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flaxdrop.metrics import BINS, bin_of, brier, calibrated_ece, nll, reliability


@pytest.fixture(scope="module")
def calibrated():
    """20,000 predictions, and labels drawn from them."""
    p = jax.nn.softmax(2 * jnp.asarray(np.random.RandomState(0).randn(20_000, 4), jnp.float32))
    return p, jax.random.categorical(jax.random.key(1), jnp.log(p))


def test_every_confidence_has_a_bin():
    edges = jnp.arange(1, BINS + 1) / BINS
    inside = bin_of(jnp.linspace(0, 1, 5001))
    assert (int(inside.min()), int(inside.max())) == (0, BINS - 1)
    assert (jnp.diff(inside) >= 0).all()
    np.testing.assert_array_equal(bin_of(edges - 1e-4), jnp.arange(BINS))


def test_what_labels_are_drawn_from_is_calibrated(calibrated):
    """A bin is off by at most 5 standard errors: a false alarm has a chance below 1e-5."""
    found = reliability(*calibrated)
    there = found.count > 0
    spread = np.sqrt(found.confidence * (1 - found.confidence) / found.count)
    assert (np.abs(found.accuracy - found.confidence) < 5 * spread + 1e-3)[there].all()
    assert found.count.sum() == 20_000
    assert found.ece < 0.02


def test_overconfidence_is_the_calibration_error(calibrated):
    p, y = calibrated
    sure = jax.nn.one_hot(p.argmax(-1), 4)
    right = float((p.argmax(-1) == y).mean())
    assert reliability(sure, y).ece == pytest.approx(1 - right, abs=1e-6)


def test_scores_in_closed_form():
    y = np.array([0, 1, 2, 3])
    uniform = np.full((4, 4), 0.25)
    assert float(brier(uniform, y)) == pytest.approx(1 - 1 / 4)
    assert float(nll(uniform, y)) == pytest.approx(np.log(4))
    assert float(brier(np.eye(4), y)) == float(nll(np.eye(4), y)) == 0
    assert float(brier(np.eye(4), (y + 1) % 4)) == 2


def test_scores_are_proper(calibrated):
    p, y = calibrated
    flat = jnp.sqrt(p) / jnp.sqrt(p).sum(-1, keepdims=True)
    assert brier(p, y) < brier(flat, y)
    assert nll(p, y) < nll(flat, y)


P = np.array([[0.7, 0.2, 0.1], [0.1, 0.6, 0.3]])
Y = np.array([0, 2])
SCORES = pytest.mark.parametrize("score", [brier, nll, reliability])


@SCORES
@pytest.mark.parametrize(
    ("p", "y", "said"),
    [
        (np.zeros((0, 3)), np.zeros(0, int), r"^probabilities: must be .* got shape \(0, 3\)$"),
        (P[0], Y, r"^probabilities: must be \[N, K\].* got shape \(3,\)$"),
        (P, Y[:, None], r"^labels: must be int \[2\], got int\d+ of shape \(2, 1\)$"),
        (P, Y[:1], r"^labels: must be int \[2\], .*\(1,\)$"),
        (P, np.eye(3)[Y], r"^labels: .*\(2, 3\)$"),
        (P, Y.astype(np.float32), r"^labels: must be int .*got float32"),
        (P, [0, 3], r"^labels: must be in \[0, 3\), got 3$"),
        (P, [-1, 0], r"^labels: must be in \[0, 3\), got -1$"),
        (np.log(P), Y, r"^probabilities: must be in \[0, 1\], got -0.35\d+ in row 0$"),
        (P * [[1], [np.nan]], Y, r"^probabilities: must be in .* got nan in row 1$"),
        (100 * P, Y, r"^probabilities: must be in \[0, 1\], got 70 in row 0$"),
        (P * [[1], [0.9]], Y, r"^probabilities: must sum to 1 .* got 0.9 in row 1$"),
    ],
)
def test_what_is_no_prediction_or_no_label_of_it_is_refused(score, p, y, said):
    with pytest.raises(ValueError, match=said):
        score(p, y)


@SCORES
@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16, jnp.float32])
def test_a_softmax_of_any_precision_is_a_prediction(score, dtype):
    logits = jnp.asarray(5 * np.random.RandomState(0).randn(50, 1000), dtype)
    score(jax.nn.softmax(logits), np.zeros(50, int))


@pytest.mark.parametrize("score", [brier, nll])
def test_scores_may_be_traced_and_shapes_are_checked_still(score):
    assert jax.jit(score)(P, Y) == pytest.approx(float(score(P, Y)))
    with pytest.raises(ValueError, match=r"^labels: must be int \[2\]"):
        jax.jit(score)(P, Y[:, None])


def test_a_calibrated_network_seems_to_err_as_much_as_is_said():
    rng = np.random.default_rng(0)
    confidence = rng.uniform(0.5, 1.0, 500)
    p = np.stack([confidence, 1 - confidence], axis=-1)
    measured = [reliability(p, (rng.random(500) >= confidence).astype(int)).ece for _ in range(200)]
    assert calibrated_ece(p) == pytest.approx(np.mean(measured), rel=0.1)
    assert calibrated_ece(np.repeat(p, 16, axis=0)) < 0.4 * calibrated_ece(p)
    with pytest.raises(ValueError, match=r"^draws: must be at least 1, got 0"):
        calibrated_ece(p, 0)
