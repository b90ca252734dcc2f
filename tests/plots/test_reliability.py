import numpy as np
import pytest

from flaxdrop.metrics import reliability
from flaxdrop.plots.reliability import draw_reliability
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
