import numpy as np
import pytest
from PIL import Image
from scipy import stats

from flaxdrop.plots.rates import draw_each_place, draw_rates

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
    assert all(np.ptp(path.vertices) == 0 for path in band.get_paths())


def draw_each(rows, path, order=("none", "p4", "p6")):
    return draw_each_place(rows, path, order=order, baseline="none", nulls=(), title="rates")


def test_every_variant_has_a_panel_with_its_differences_by_rate(make_study, tmp_path):
    means = {0.5: {"none": 0.5, "p4": 0.4, "p6": 0.5}, 0.1: {"none": 0.5, "p4": 0.52}}
    rows = {rate: make_study(of, seeds=4) for rate, of in means.items()}
    figure = draw_each(rows, tmp_path / "rates.png")
    panels = [axis for axis in figure.axes if axis.axison]
    assert [axis.get_title() for axis in panels] == ["p4", "p6"]
    assert panels[1].get_xlim()[1] > 0.5
    line = next(of for of in panels[0].get_lines() if len(of.get_xdata()) == 3)
    last = {
        (rate, row.variant, row.seed): 100 * row.last_accuracy
        for rate, of in rows.items()
        for row in of
    }
    expected = [
        np.mean([last[rate, "p4", seed] - last[rate, "none", seed] for seed in range(4)])
        for rate in (0.1, 0.5)
    ]
    np.testing.assert_array_equal(line.get_xdata(), [0, 0.1, 0.5])
    np.testing.assert_allclose(line.get_ydata(), [0, *expected])
    full, hollow = (
        [x for of in panels[0].get_lines() if of.get_label() == label for x in of.get_xdata()]
        for label in ("significant (Holm), above known noise", "not told from chance")
    )
    assert (full, hollow) == ([0.1, 0.5], [])


def test_without_a_difference_there_is_no_panel(make_row, tmp_path):
    for rows in ([], [make_row("none")], [make_row("p4")]):
        figure = draw_each({0.1: rows, 0.5: rows}, tmp_path / "rates.png")
        assert not any(axis.axison for axis in figure.axes)


def test_a_rate_has_the_noise_that_its_null_tells(make_study, tmp_path):
    means = {"none": 0.5, "p5": 0.5, "p6": 0.5}
    rows = {0.1: make_study({"none": 0.5, "p6": 0.5}), 0.3: make_study(means)}
    figure = draw_each_place(
        rows,
        tmp_path / "rates.png",
        order=tuple(means),
        baseline="none",
        nulls=(("p5", "p6"),),
        title="rates",
    )
    panel = next(axis for axis in figure.axes if axis.get_title() == "p6")
    heights = [bar.get_height() for bar in panel.patches]
    assert np.isnan(heights[0])
    differences = [
        100 * (a.last_accuracy - b.last_accuracy)
        for a in rows[0.3]
        for b in rows[0.3]
        if (a.variant, b.variant, a.seed) == ("p5", "p6", b.seed)
    ]
    assert heights[1] == pytest.approx(2 * null_noise_of(differences))


def null_noise_of(differences):
    spread = np.sqrt(np.mean(np.square(differences)) / len(differences))
    return stats.t.ppf(0.975, len(differences)) * spread
