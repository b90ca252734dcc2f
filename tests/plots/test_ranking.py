import dataclasses

import numpy as np
import pytest
from PIL import Image

from flaxdrop.analysis import NormShift, RankedSlot, Ranking, Shift
from flaxdrop.plots.ranking import draw_ranking


@dataclasses.dataclass
class Model:
    """What stands for a network: its places are told apart by the ranking alone."""

    places: tuple = ()


def ranked(slot, ratio, count):
    norms = tuple(NormShift(f"norm{i}", np.full(4, ratio), np.zeros(4), 0.01) for i in range(count))
    none = Shift((), (slot,), 32, 2)
    return RankedSlot(slot, 3, Shift(norms, (slot,), 32, 2), none)


@pytest.mark.parametrize(("count", "worst"), [(1, 0.5), (7, 0.01), (109, 1.0)])
def test_the_best_and_the_worst_place_are_drawn_over_the_depth(count, worst, tmp_path):
    slots = tuple(
        ranked(slot, ratio, count)
        for slot, ratio in (("p0", worst), ("p6", 0.95), ("p7", 0.955), ("head", 0.9))
    )
    path = tmp_path / "ranking.png"
    ranking = Ranking("Network", 0.1, slots, Model())
    figure = draw_ranking(ranking, path, title="where?")
    [axis] = figure.axes
    _, best_line, worst_line = axis.lines
    assert len(best_line.get_xdata()) == len(worst_line.get_xdata()) == count
    assert best_line.get_ydata()[0] == pytest.approx(0.95)
    assert worst_line.get_ydata()[0] == pytest.approx(ranking.worst.shift.norms[0].geometric_mean)
    low, high = axis.get_ylim()
    assert low < min(worst, 0.9) < 1 < high
    with Image.open(path) as image:
        assert image.size[0] > 500
