import pytest
from matplotlib.colors import to_hex

from flaxdrop.models.preresnet import BASIC_LAYOUT, BOTTLENECK_LAYOUT, BOTTLENECK_SLOTS
from flaxdrop.plots.block import block_parts
from flaxdrop.plots.style import INNER
from flaxdrop.plots.variants import draw_positions
from flaxdrop.plots.verdict import verdict
from flaxdrop.results.comparison import compare
from tests.plots.readable import check, words

ORDER = ("none", *(f"p{i}" for i in range(8)))


def draw(make_study, path, layout):
    rows = make_study({v: 0.9 - 0.01 * (v == "p0") for v in ORDER})
    comparison = compare(rows, order=ORDER, baseline="none", same=(("p6", "p5"),))
    return comparison, draw_positions(comparison, path, title="Where?", layout=layout)


def test_the_places_of_the_block_have_the_colour_of_their_verdict(make_study, tmp_path):
    path = tmp_path / "p.png"
    comparison, figure = draw(make_study, path, BASIC_LAYOUT)
    check(figure, path)
    strip = figure.axes[-1]
    colours = {text.get_text(): to_hex(text.get_color()) for text in strip.texts}
    for variant in ORDER[1:]:
        effect = comparison.effects["accuracy"][comparison.network(variant)]
        assert colours[variant] == verdict(effect).colour.lower()
    assert [text.get_text() for text in strip.texts].count("Conv3x3") == 2


@pytest.mark.parametrize("layout", ["", "BN -> ReLU", "{h4} -> BN"])
def test_a_layout_without_the_places_is_not_drawn(make_study, tmp_path, layout):
    _, figure = draw(make_study, tmp_path / "p.png", layout)
    assert len(figure.axes) == 2
    assert "BN" not in words(figure)


def test_parts_fit_or_are_left_out():
    parts, gap = block_parts(BASIC_LAYOUT, ORDER, INNER)
    assert [part for part in parts if part.startswith("{")] == [f"{{p{i}}}" for i in range(8)]
    assert gap > 0
    assert block_parts(BASIC_LAYOUT, ORDER, 3.0) == ([], 0.0)
    assert block_parts(BOTTLENECK_LAYOUT, BOTTLENECK_SLOTS, 6.0) == ([], 0.0)
