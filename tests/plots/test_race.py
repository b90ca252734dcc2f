import numpy as np
import pytest

from flaxdrop.plots.race import draw_race
from flaxdrop.results import race
from flaxdrop.results.race import advance, begin


@pytest.fixture
def standing():
    """A race of four arms: better, worse, left, and open."""
    random = np.random.default_rng(0)
    found = begin(4)
    for _ in range(8):
        values = np.array([90.0, 94.0, 80.0, 90.5, 93.8]) + random.normal(0, 0.1, 5)
        found = advance(found, values, 1.0)
    return found


def test_every_arm_is_drawn_where_its_effect_is_the_best_on_top(standing, tmp_path):
    names = ["a, rate 0.1", "b_*$x$:in", "c", "d"]
    figure = draw_race(standing, names, tmp_path / "race.png", margin=1.0, best=0)
    axis = figure.axes[0]
    marks = {line.get_gid(): line for line in axis.lines if line.get_gid() in names}
    assert {name: line.get_xdata()[0] for name, line in marks.items()} == pytest.approx(
        dict(zip(names, standing.effect, strict=True))
    )
    by_effect = [names[i] for i in np.argsort(-standing.effect)]
    assert [label.get_text() for label in axis.get_yticklabels()] == by_effect
    assert sorted(names, key=lambda name: marks[name].get_ydata()[0]) == by_effect
    colours = {name: line.get_color() for name, line in marks.items()}
    assert colours[names[0]] != colours[names[1]] != colours[names[2]]
    assert (tmp_path / "race.png").stat().st_size > 10_000


def test_arms_without_an_interval_are_drawn(tmp_path):
    found = advance(begin(2), np.array([90.0, 91.0, np.nan]), 1.0)
    figure = draw_race(found, ["a", "b"], tmp_path / "race.png", margin=1.0)
    assert found.status[1] == race.DIVERGED
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["a"]


def test_an_interval_that_does_not_fit_ends_in_an_arrow_at_the_edge(tmp_path):
    found = begin(2)
    for values in ([90.0, 91.0, 92.0], [90.0, 93.0, 91.5], [90.0, 91.0, 92.0]):
        found = advance(found, np.array(values), 1.0)
    axis = draw_race(found, ["a", "b"], tmp_path / "race.png", margin=1.0).axes[0]
    left, right = axis.get_xlim()
    arrows = [line.get_xdata()[0] for line in axis.lines if line.get_marker() in ("<", ">")]
    outside = np.concatenate([found.low[found.low < left], found.high[found.high > right]])
    assert len(arrows) == len(outside) > 0
    assert set(arrows) <= {left, right}
    assert all(left <= x <= right for line in axis.lines for x in line.get_xdata())
