"""Rows of a ledger as if they had been trained, for tests of results and plots."""

from collections.abc import Callable

import numpy as np
import pytest

from flaxdrop.results.plain import CURVES
from flaxdrop.results.row import Row


def _row(variant="p6", seed=0, *, accuracy=0.9, best=None, epochs=4, **fields) -> Row:
    """A finished cell whose test accuracy rises to `best` and ends at `accuracy`."""
    best = accuracy if best is None else best
    rise = 1 - np.exp(-np.arange(1, epochs + 1) / (epochs / 4))
    test = best * rise / rise[-1]
    if epochs > 1 and best > accuracy:
        test[-2] = best
    test[-1] = accuracy
    curve = {
        "train_loss": list(2.3 * (1 - rise) + 0.01),
        "train_accuracy": list(np.minimum(1, 0.05 + test)),
        "test_accuracy": list(test),
        "test_nll": list(2.3 * (1 - 0.8 * rise)),
        "test_ece": list(0.1 * rise),
    }
    assert set(curve) == set(CURVES)
    values = {"curve": curve, "last_accuracy": accuracy, **fields}
    told = values["curve"]
    lost = values.get("status") == "diverged"
    return Row(
        **{
            "study": "preresnet",
            "config": {"depth": 20, "seeds": 5},
            "config_hash": "0123456789ab",
            "numerics": 1,
            "data": "d" * 32,
            "weights": "",
            "variant": variant,
            "placement": "none" if variant == "none" else f"{variant}=0.1",
            "seed": seed,
            "status": "finished",
            "best_accuracy": best if lost else max(told["test_accuracy"]),
            "best_epoch": 1 if lost else int(np.argmax(told["test_accuracy"])) + 1,
            "last_accuracy": accuracy,
            "last_nll": told["test_nll"][-1],
            "last_ece": told["test_ece"][-1],
            "chance": 0.12,
            "curve": curve,
            "right": [],
            "train_examples": 0,
            "test_examples": 0,
            "measured": {},
            "digest": "0" * 64,
            "parameters": 1_730_522,
            "device_kind": "cpu",
            "platform": "cpu",
            "precision": "float32",
            "versions": {"python": "3.11.7", "jax": "0.10.2"},
            "git_revision": "unknown",
            "wall_seconds": 12.5,
            "compile_seconds": 3.0,
            "images_per_second": 1000.0,
            "finished_at": "2025-01-02T03:04:05+00:00",
            **fields,
        }
    )


@pytest.fixture
def make_row() -> Callable[..., Row]:
    return _row


@pytest.fixture
def make_study() -> Callable[..., list[Row]]:
    """Rows of a study: variant to mean accuracy, seeds that share their own offset."""

    def make(means, seeds=5, spread=0.004, epochs=4) -> list[Row]:
        rng = np.random.default_rng(0)
        offsets = rng.normal(0, spread, seeds)
        return [
            _row(variant, seed, accuracy=last, best=last + 0.005, epochs=epochs)
            for variant, mean in means.items()
            for seed, last in enumerate(mean + offsets + rng.normal(0, spread / 4, seeds))
        ]

    return make
