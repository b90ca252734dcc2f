import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flaxdrop.calibration import BINS, bin_of, brier, nll, reliability


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


def test_no_examples():
    with pytest.raises(ValueError, match="at least one example"):
        reliability(np.zeros((0, 3)), np.zeros(0, int))
