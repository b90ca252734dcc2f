import numpy as np
import pytest

from flaxdrop.data import Dataset


@pytest.fixture(autouse=True)
def cache_folder(tmp_path, monkeypatch):
    """Every test has a decoded cache of its own."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("FLAXDROP_CACHE", str(folder))
    return folder


@pytest.fixture
def arrays():
    """The contents of a small .npz file, with images that all differ."""
    random = np.random.RandomState(0)
    return {
        "x_train": random.randint(0, 256, (12, 6, 5, 3)).astype(np.uint8),
        "y_train": np.arange(12) % 3,
        "x_test": random.randint(0, 256, (6, 6, 5, 3)).astype(np.uint8),
        "y_test": np.arange(6) % 3,
        "classes": np.array(["ant", "bee", "cat"]),
    }


@pytest.fixture
def dataset(arrays):
    return Dataset(
        name="small",
        x_train=arrays["x_train"],
        y_train=arrays["y_train"].astype(np.int32),
        x_test=arrays["x_test"],
        y_test=arrays["y_test"].astype(np.int32),
        classes=("ant", "bee", "cat"),
    )
