import numpy as np
from PIL import Image

from flaxdrop.plots.schedules import draw_schedules
from flaxdrop.schedule import DROPOUT_SCHEDULES


def test_every_schedule_is_a_line_up_to_its_rate(tmp_path):
    figure = draw_schedules(tmp_path / "schedules.png", rate=0.4, switch=0.5, epochs=20)
    lines = {line.get_label(): line.get_data() for line in figure.axes[0].get_lines()}
    assert set(lines) == set(DROPOUT_SCHEDULES)
    for epochs, rates in lines.values():
        assert (epochs[0], epochs[-1]) == (0, 20)
        assert np.max(rates) == np.float32(0.4) or 0.399 < np.max(rates) < 0.4
    with Image.open(tmp_path / "schedules.png") as image:
        assert image.size == (900, 600)
