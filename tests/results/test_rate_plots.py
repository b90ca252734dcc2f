import numpy as np
import pytest
from PIL import Image

from flaxdrop.results.rate_plots import draw_rates

PLACES = {place: {rate: f"{place} {rate}" for rate in (0.2, 0.5)} for place in ("h4", "h5")}


def draw(rows, path):
    return draw_rates(rows, path, places=PLACES, baseline="none", title="head")


def test_lines_are_the_paired_differences(make_study, tmp_path):
    means = {"none": 0.5, "h4 0.2": 0.52, "h4 0.5": 0.54, "h5 0.2": 0.48, "h5 0.5": 0.44}
    rows = make_study(means, seeds=4)
    figure = draw(rows, tmp_path / "rates.png")
    by_cell = {(row.variant, row.seed): 100 * row.last_accuracy for row in rows}
    left = figure.axes[0]
    lines = {line.get_label(): line for line in left.get_lines()}
    for place in PLACES:
        rates, values = lines[place].get_data()
        assert list(rates) == [0.0, 0.2, 0.5]
        expected = [
            np.mean([by_cell[f"{place} {rate}", seed] - by_cell["none", seed] for seed in range(4)])
            for rate in (0.2, 0.5)
        ]
        np.testing.assert_allclose(values, [0, *expected])
    with Image.open(tmp_path / "rates.png") as image:
        assert image.size == (1500, 690)


@pytest.mark.parametrize("variants", [[], ["none"], ["h4 0.2"]])
def test_nothing_to_compare_is_said(make_row, tmp_path, variants):
    figure = draw([make_row(variant) for variant in variants], tmp_path / "rates.png")
    for axis in figure.axes:
        assert [text.get_text() for text in axis.texts] == ["nothing to compare"]


def test_a_single_seed_has_no_band(make_row, tmp_path):
    rows = [make_row("none", accuracy=0.5), make_row("h4 0.2", accuracy=0.6)]
    figure = draw(rows, tmp_path / "rates.png")
    [band] = figure.axes[0].collections
    heights = band.get_paths()[0].vertices[:, 1]
    assert set(np.round(heights, 6)) <= {0.0, 10.0}
