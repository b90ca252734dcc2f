import numpy as np
import pytest

from flaxdrop.metrics import reliability
from flaxdrop.plots.reliability import _wilson, draw_reliability
from tests.plots.readable import check, check_inside


@pytest.fixture
def found():
    random = np.random.default_rng(0)
    p = random.dirichlet(np.ones(3), 500)
    return reliability(p, random.integers(0, 3, 500))


def test_marks_are_the_bins(found, tmp_path):
    path = tmp_path / "r.png"
    figure = draw_reliability({"one pass": found}, path, title="Is it as often right?")
    check(figure, path)
    check_inside(figure)
    upper, lower = figure.axes
    x, y = upper.get_lines()[1].get_data()
    there = found.count > 0
    np.testing.assert_allclose(x, found.confidence[there])
    np.testing.assert_allclose(y, found.accuracy[there])
    assert [bar.get_height() for bar in lower.patches] == found.count.tolist()
    assert upper.get_ylim() == (0, 1)


def test_the_interval_of_wilson_covers_as_often_as_it_says():
    """2000 draws: within 0.93 and 0.97 but for a chance below 1e-4."""
    right = np.random.default_rng(1).binomial(200, 0.7, 2000)
    low, high = _wilson(right / 200, np.full(2000, 200))
    assert 0.93 < np.mean((low <= 0.7) & (high >= 0.7)) < 0.97
    low, high = _wilson(np.array([0.0, 1.0]), np.array([5, 5]))
    assert low[0] == 0 < high[0] < 1
    assert high[1] == 1 > low[1] > 0
