import itertools

import numpy as np
import pytest
from PIL import Image

from flaxdrop.plots.block_depth import draw_depth

PUBLISHED = {"BN": 0.85, "no BN": 0.78, "conv 0.2 + dense 0.5": 0.88} | {
    f"block {block} only {rate}": 0.8 + 0.03 * block - 0.1 * rate
    for block in (1, 2, 3)
    for rate in (0.2, 0.5)
}
ORDER = [*PUBLISHED, *(f"twice the units + conv 0.2 + dense 0.{i}" for i in range(3))]
BY_BLOCK = {rate: [f"block {block} only {rate}" for block in (1, 2, 3)] for rate in (0.2, 0.5)}


def draw(rows, path, published=PUBLISHED):
    return draw_depth(
        rows,
        path,
        order=ORDER,
        baseline="BN",
        published=published,
        by_block=BY_BLOCK,
        title="vgg_depth, CIFAR-10",
    )


@pytest.fixture
def studies(make_study, make_row):
    whole = {variant: 0.7 + 0.01 * i for i, variant in enumerate(ORDER)}
    return {
        "whole": make_study(whole, seeds=3),
        "one_seed": make_study(whole, seeds=1),
        "no_blocks": make_study({v: whole[v] for v in ORDER[:3]}, seeds=2),
        "baseline_only": make_study({"BN": 0.8}, seeds=2),
        "baseline_missing": [make_row("no BN")],
        "nothing": [],
    }


def texts(figure):
    shown = [figure._suptitle, *(text for legend in figure.legends for text in legend.get_texts())]
    for axis in figure.axes:
        shown += [axis.xaxis.label, axis.yaxis.label, *axis.texts]
        for side, limits in ((axis.xaxis, axis.get_xlim()), (axis.yaxis, axis.get_ylim())):
            ticks = side.get_major_ticks()
            shown += [tick.label1 for tick in ticks if min(limits) <= tick.get_loc() <= max(limits)]
    return [(t.get_text(), t.get_window_extent()) for t in shown if t.get_text().strip()]


@pytest.mark.parametrize("published", [PUBLISHED, {}], ids=["published", "unpublished"])
@pytest.mark.parametrize(
    "study", ["whole", "one_seed", "no_blocks", "baseline_only", "baseline_missing", "nothing"]
)
def test_it_is_a_png_in_which_no_text_lies_on_another_or_outside(
    studies, tmp_path, study, published
):
    path = tmp_path / "depth.png"
    figure = draw(studies[study], path, published)
    page, found = figure.bbox, texts(figure)
    for (a, box), (b, other) in itertools.combinations(found, 2):
        overlap = box.intersection(box, other)
        assert overlap is None or overlap.width < 1 or overlap.height < 1, (a, b)
    for text, box in found:
        inside = page.x0 <= box.x0 and box.x1 <= page.x1 and page.y0 <= box.y0 and box.y1 <= page.y1
        assert inside, text
    with Image.open(path) as image:
        assert image.format == "PNG"
        assert image.convert("L").getextrema()[0] < 128


def test_bars_are_paired_differences_and_diamonds_the_published_ones(studies, tmp_path):
    rows = studies["whole"]
    left, _ = draw(rows, tmp_path / "p").axes
    best = {(row.variant, row.seed): 100 * row.best_accuracy for row in rows}
    shown = [variant for variant in ORDER if variant != "BN"]
    assert [label.get_text() for label in left.get_yticklabels()] == shown
    expected = [np.mean([best[v, s] - best["BN", s] for s in range(3)]) for v in shown]
    (bars,) = [bars for bars in left.containers if bars.get_label() == "ours"]
    np.testing.assert_allclose([bar.get_width() for bar in bars], expected)
    (diamonds,) = [line for line in left.get_lines() if line.get_label() == "published"]
    known = [variant for variant in shown if variant in PUBLISHED]
    np.testing.assert_allclose(
        diamonds.get_xdata(), [100 * (PUBLISHED[v] - PUBLISHED["BN"]) for v in known]
    )
    np.testing.assert_allclose(diamonds.get_ydata(), [shown.index(v) for v in known])


def test_each_rate_has_a_line_over_the_blocks(studies, tmp_path):
    rows = studies["whole"]
    _, right = draw(rows, tmp_path / "p").axes
    labels = {bars.get_label() for bars in right.containers}
    assert labels == {"rate 0.2", "rate 0.5"}
    for bars in right.containers:
        x = bars.lines[0].get_xdata(orig=False)
        np.testing.assert_allclose(x, [1, 2, 3], atol=0.1)
    published = [line for line in right.get_lines() if "published" in str(line.get_label())]
    assert [len(line.get_xdata()) for line in published] == [3, 3]


def test_a_path_that_cannot_be_written_is_an_oserror(studies, tmp_path):
    with pytest.raises(OSError, match="missing"):
        draw(studies["whole"], tmp_path / "missing" / "p.png")
