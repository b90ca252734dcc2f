import itertools

import numpy as np
import pytest

from flaxdrop.plots.labels import LineEnd, Point, name_lines, name_points, spread
from flaxdrop.plots.style import new_figure, panels, save
from tests.plots.readable import check, words


@pytest.mark.parametrize("seed", range(5))
def test_spread_texts_do_not_touch_keep_their_order_and_stay_inside(seed):
    generator = np.random.default_rng(seed)
    wanted, heights = generator.uniform(0, 100, 8), generator.uniform(2, 10, 8)
    found = np.array(spread(wanted, heights, 0, 100))
    order = np.argsort(wanted)
    for a, b in itertools.pairwise(order):
        assert found[b] - found[a] >= (heights[a] + heights[b]) / 2 - 1e-9
    assert found[order[0]] - heights[order[0]] / 2 >= -1e-9
    assert found[order[-1]] + heights[order[-1]] / 2 <= 100 + 1e-9


def test_texts_that_have_room_stay_where_they_are():
    assert spread([10.0, 30.0, 20.0], [5.0] * 3, 0, 100) == [10.0, 30.0, 20.0]
    assert spread([], [], 0, 1) == []


@pytest.mark.parametrize("count", [1, 2, 20])
def test_names_of_lines_that_end_in_one_point_can_be_read(tmp_path, count):
    figure = new_figure(7, 4, "lines")
    [[axis]] = panels(figure, 1, 1)
    axis.plot([0, 1], [0, 1])
    name_lines(figure, {axis: [LineEnd((1, 1), f"rate {i}") for i in range(count)]})
    check(save(figure, tmp_path / "p"), tmp_path / "p")
    assert {f"rate {i}" for i in range(count)} <= set(words(figure))


@pytest.mark.parametrize("count", [1, 2, 20])
@pytest.mark.parametrize("reach", [0.01, 1.0])
def test_names_of_marks_can_be_read(tmp_path, count, reach):
    generator = np.random.default_rng(count)
    figure = new_figure(10, 4, "marks")
    [[axis]] = panels(figure, 1, 1)
    axis.set(xlim=(-1, 2), ylim=(-1, 2))
    points = {
        f"block {i}": Point(x, y, y - 0.1, y + 0.1)
        for i, (x, y) in enumerate(reach * generator.uniform(size=(count, 2)))
    }
    name_points(figure, axis, points)
    check(save(figure, tmp_path / "p"), tmp_path / "p")
    assert set(points) <= set(words(figure))
