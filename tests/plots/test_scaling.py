import numpy as np
import pytest

from flaxdrop.plots.scaling import QUANTITIES, Cost, draw_scale, straight
from tests.plots.readable import check


def test_a_straight_line_is_found_whatever_its_scale():
    sizes = np.asarray([20, 56, 110, 1202])
    for scale in (1e-6, 1.0, 1e9):
        line = straight(sizes, scale * (3 + 0.5 * sizes))
        assert line.intercept == pytest.approx(3 * scale)
        assert line.slope == pytest.approx(0.5 * scale)
        assert line.deviation < 1e-9


def test_the_deviation_is_a_share_of_the_value_and_the_largest():
    sizes = np.arange(1, 101)
    values = 10.0 * sizes
    values[49] *= 1.3
    assert straight(sizes, values).deviation == pytest.approx(0.3 / 1.3, rel=0.1)


def test_two_points_have_no_line():
    assert straight([1, 2], [3.0, 4.0]) is None


@pytest.mark.parametrize("count", [1, 2, 5])
def test_it_is_a_png_with_a_panel_for_every_cost(tmp_path, count):
    costs = [Cost(size, 0.1 * size, 10 + size % 2, 2**20 * size) for size in range(1, count + 1)]
    path = tmp_path / "scale.png"
    figure = draw_scale(costs, path, what="slots", title="Cost by slots")
    check(figure, path)
    assert [axis.get_ylabel() for axis in figure.axes] == [f"{n}, {u}" for n, u, _ in QUANTITIES]
    for axis in figure.axes:
        points = axis.lines[-1].get_xydata()
        assert len(points) == count
        assert (axis.get_ylim()[0], axis.get_ylim()[1] > points[:, 1].max()) == (0, True)
