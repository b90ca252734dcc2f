import numpy as np
import pytest
from matplotlib.colors import to_hex

from flaxdrop.plots.rates import draw_each_place, draw_rates
from flaxdrop.plots.verdict import verdict
from flaxdrop.results.comparison import compare
from flaxdrop.results.rates import compare_rates
from tests.plots.readable import check, check_inside, marks, words

PLACES = {
    place: {rate: f"{place} {rate}" for rate in (0.2, 0.5)} for place in ("h4", "h5", "logits")
}
MEANS = {"none": 0.5, "h4 0.2": 0.52, "h4 0.5": 0.54, "h5 0.2": 0.48, "h5 0.5": 0.44}
ORDER = ("none", *(f"p{i}" for i in range(8)))
SAME = (("p6", "p5"), ("p2", "p3"))


def draw(rows, path, places=PLACES):
    comparison = compare(rows, baseline="none")
    figure = draw_rates(comparison, path, places=places, title="At what rate?")
    return comparison, figure


@pytest.mark.parametrize("seeds", [1, 4])
def test_the_effects_of_both_measures_are_there_and_every_place_is_named(
    make_study, tmp_path, seeds
):
    path = tmp_path / "rates.png"
    comparison, figure = draw(make_study(MEANS, seeds=seeds), path)
    check(figure, path)
    check_inside(figure)
    found = marks(figure)
    for measure, panel in zip(("accuracy", "nll"), figure.axes, strict=True):
        for effect in comparison.effects[measure].values():
            [mark] = [line for axis, line in found[effect.name] if axis is panel]
            assert mark.get_ydata() == pytest.approx([effect.mean])
            full = to_hex(mark.get_markerfacecolor()) != "#ffffff"
            assert full == effect.significant
    assert [words(figure).count(place) for place in PLACES] == [2, 2, 0]


def test_a_line_is_broken_at_a_rate_that_was_not_trained(make_study, tmp_path):
    places = {"h4": {0.2: "h4 0.2", 0.5: "h4 0.5"}, "h5": {0.1: "h5 0.1", 0.5: "h5 0.5"}}
    means = MEANS | {"h5 0.1": 0.5}
    rows = [row for row in make_study(means) if row.variant != "h5 0.2"]
    _, figure = draw(rows, tmp_path / "p", places)
    lines = [line.get_ydata() for line in figure.axes[0].get_lines() if len(line.get_ydata()) == 4]
    gaps = [np.isnan(line).tolist() for line in lines]
    assert gaps == [[False, True, False, False], [False, False, True, False]]


@pytest.mark.parametrize("variants", [[], ["none"], ["h4 0.2"]])
def test_nothing_to_compare_is_said(make_row, tmp_path, variants):
    path = tmp_path / "rates.png"
    _, figure = draw([make_row(variant) for variant in variants], path)
    check(figure, path)
    assert "nothing to compare with none" in words(figure)


def each_place(rows, path):
    rates = compare_rates(rows, order=ORDER, baseline="none", same=SAME)
    return rates, draw_each_place(rates, path, title="Which places bear a higher rate?")


def study(make_study, place=0.0, rates=(0.1, 0.3, 0.5)):
    return {
        rate: make_study({v: 0.5 + place * rate * i for i, v in enumerate(ORDER)}, seeds=3)
        for rate in rates
    }


def by_name(figure):
    return {
        axis.get_title(loc="left").replace("\n", " "): axis for axis in figure.axes if axis.axison
    }


@pytest.mark.parametrize("place", [0.0, 0.02, -0.1])
def test_every_network_has_a_panel_with_its_effects_by_verdict(make_study, tmp_path, place):
    path = tmp_path / "rates.png"
    rates, figure = each_place(study(make_study, place), path)
    check(figure, path)
    check_inside(figure)
    names = {name.removesuffix(" (another scale)") for name in by_name(figure)}
    assert names == {"p0", "p1", "p2 and p3", "p4", "p5 and p6", "p7"}
    found = marks(figure)
    for rate in rates.rates:
        for effect in rates.effects[rate].values():
            [(_, mark)] = found[effect.name]
            assert mark.get_xdata() == [rate]
            assert mark.get_ydata() == pytest.approx([effect.mean])
            assert to_hex(mark.get_color()) == verdict(effect).colour.lower()


def test_a_rate_that_a_network_was_not_trained_at_has_no_line(make_study, tmp_path):
    rows = study(make_study)
    rows[0.3] = [row for row in rows[0.3] if row.variant != "p4"]
    _, figure = each_place(rows, tmp_path / "p")
    panels = by_name(figure)
    for name, gap in (("p4", True), ("p7", False)):
        [line] = [line for line in panels[name].get_lines() if len(line.get_ydata()) == 4]
        assert np.isnan(line.get_ydata()).tolist() == [False, False, gap, False]


def test_all_scales_are_linear_and_a_network_that_dwarfs_the_others_has_its_own(
    make_study, tmp_path
):
    rows = {0.1: make_study(dict.fromkeys(ORDER, 0.5)), 0.5: make_study(dict.fromkeys(ORDER, 0.5))}
    rows[0.5] = [
        row if row.variant != "p0" else make_study({"p0": 0.15}, seeds=row.seed + 1)[row.seed]
        for row in rows[0.5]
    ]
    _, figure = each_place(rows, tmp_path / "p")
    panels = by_name(figure)
    assert {axis.get_yscale() for axis in panels.values()} == {"linear"}
    other = panels.pop("p0 (another scale)")
    [limits] = {axis.get_ylim() for axis in panels.values()}
    assert np.ptp(other.get_ylim()) > 3 * np.ptp(limits)


@pytest.mark.parametrize("variants", [[], ["none"], ["p4"]])
def test_without_a_difference_there_is_no_panel_of_one(make_row, tmp_path, variants):
    rows = [make_row(variant) for variant in variants]
    path = tmp_path / "p"
    _, figure = each_place({0.1: rows, 0.5: rows}, path)
    check(figure, path)
    assert "nothing to compare with none" in words(figure)


def test_a_key_has_more_than_one_entry(make_study, tmp_path):
    rates, figure = each_place({0.1: make_study({"none": 0.5, "p4": 0.5}, seeds=2)}, tmp_path / "p")
    [effect] = rates.effects[0.1].values()
    assert verdict(effect).words not in words(figure)
    assert any(verdict(effect).words in text for text in words(figure))
