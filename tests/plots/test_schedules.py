import numpy as np

from flaxdrop.plots.schedules import draw_schedules
from flaxdrop.schedule import DROPOUT_SCHEDULES
from tests.plots.readable import check, check_inside, words


def test_every_schedule_is_a_line_up_to_its_rate(tmp_path):
    figure = draw_schedules(tmp_path / "schedules.png", rate=0.4, switch=0.5, epochs=20)
    lines = {line.get_gid(): line.get_data() for axis in figure.axes for line in axis.get_lines()}
    assert set(lines) == set(DROPOUT_SCHEDULES)
    for epochs, rates in lines.values():
        assert (epochs[0], epochs[-1]) == (0, 20)
        assert np.max(rates) == np.float32(0.4) or 0.399 < np.max(rates) < 0.4
    check(figure, tmp_path / "schedules.png")
    check_inside(figure)
    assert set(DROPOUT_SCHEDULES) <= set(words(figure))
