import numpy as np
import pytest

from flaxdrop.plots.block_depth import draw_depth
from flaxdrop.results.comparison import compare
from tests.plots.readable import check, check_inside, marks, words

PUBLISHED = {"BN": 0.85, "no BN": 0.78, "conv 0.2 + dense 0.5": 0.88} | {
    f"block {block} only {rate}": 0.8 + 0.03 * block - 0.1 * rate
    for block in (1, 2, 3)
    for rate in (0.2, 0.5)
}
ORDER = [*PUBLISHED, *(f"twice the units + conv 0.2 + dense 0.{i}" for i in range(3))]
BY_BLOCK = {rate: [f"block {block} only {rate}" for block in (1, 2, 3)] for rate in (0.2, 0.5)}
BLOCKS = [name for names in BY_BLOCK.values() for name in names]
WHOLE = [name for name in ORDER if name not in BLOCKS]


def draw(rows, path, published=PUBLISHED):
    comparison = compare(rows, order=ORDER, baseline="BN")
    figure = draw_depth(
        comparison, path, published=published, by_block=BY_BLOCK, title="At which depth?"
    )
    return comparison, figure


@pytest.fixture
def studies(make_study, make_row):
    whole = {variant: 0.7 + 0.01 * i for i, variant in enumerate(ORDER)}
    return {
        "whole": make_study(whole, seeds=3),
        "one_seed": make_study(whole, seeds=1),
        "no_blocks": make_study({v: whole[v] for v in ORDER[:3]}, seeds=2),
        "blocks_only": make_study({v: whole[v] for v in ["BN", *BLOCKS]}, seeds=2),
        "baseline_only": make_study({"BN": 0.8}, seeds=2),
        "baseline_missing": [make_row("no BN")],
        "nothing": [],
    }


@pytest.mark.parametrize("published", [PUBLISHED, {}], ids=["published", "unpublished"])
@pytest.mark.parametrize(
    ("study", "panels"),
    [
        ("whole", 2),
        ("one_seed", 2),
        ("no_blocks", 1),
        ("blocks_only", 1),
        ("baseline_only", 1),
        ("baseline_missing", 1),
        ("nothing", 1),
    ],
)
def test_it_can_be_read_and_has_no_panel_without_cells(studies, tmp_path, study, panels, published):
    path = tmp_path / "depth.png"
    _, figure = draw(studies[study], path, published)
    check(figure, path)
    check_inside(figure)
    assert len(figure.axes) == panels


def test_every_effect_is_there_once_and_the_published_ones_beside_them(studies, tmp_path):
    comparison, figure = draw(studies["whole"], tmp_path / "p")
    left, right = figure.axes
    found = marks(figure)
    for name, effect in comparison.effects["best"].items():
        if name in BLOCKS:
            [(axis, mark)] = found[effect.name]
            assert axis is right
            assert mark.get_ydata() == pytest.approx([effect.mean])
        else:
            [(axis, mark)] = found[name]
            assert axis is left
            assert mark.get_xdata() == pytest.approx([effect.mean])
    shown = words(figure)
    assert {*WHOLE} - {"BN"} <= set(shown)
    assert {"rate 0.2", "rate 0.5", "block 1", "block 3", "published"} <= set(shown)
    theirs = [line.get_xdata()[0] for line in left.get_lines() if line.get_marker() == "D"]
    expected = [100 * (PUBLISHED[v] - PUBLISHED["BN"]) for v in WHOLE if v in PUBLISHED]
    np.testing.assert_allclose(sorted(theirs), sorted(set(expected) - {0.0}))


def test_without_published_numbers_none_are_mentioned(studies, tmp_path):
    _, figure = draw(studies["whole"], tmp_path / "p", {})
    assert "published" not in words(figure)


def test_a_line_is_broken_at_a_block_that_was_not_trained(studies, tmp_path):
    rows = [row for row in studies["whole"] if row.variant != "block 2 only 0.5"]
    _, figure = draw(rows, tmp_path / "p")
    lines = [line.get_ydata() for line in figure.axes[1].get_lines() if len(line.get_ydata()) == 3]
    gaps = [np.isnan(line).tolist() for line in lines if np.isnan(line).any()]
    assert gaps == [[False, True, False]]


def test_a_path_that_cannot_be_written_is_an_oserror(studies, tmp_path):
    with pytest.raises(OSError, match="missing"):
        draw(studies["whole"], tmp_path / "missing" / "p.png")
