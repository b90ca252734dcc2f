import itertools
import os
import subprocess
import sys

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib._pylab_helpers import Gcf
from PIL import Image

import flaxdrop
from flaxdrop.plots.style import DPI
from flaxdrop.plots.variants import COLOURS, DASHES, MARKERS, curves, positions

ORDER = ["none", *(f"p{i}" for i in range(8))]
LONG = [f"blocks {i} and 2: channel dropout before pooling, W $x_1$" for i in range(20)]
LONG[0] += ", of a name longer than any line of a legend" * 4
TITLE = "PreResNet-110 on CIFAR-100"
NULLS = [("p5", "p6"), ("p2", "p3")]


def draw_positions(rows, path, order, title=TITLE):
    return positions(rows, path, order=order, baseline=order[0], nulls=NULLS, title=title)


def draw_curves(rows, path, order, title=TITLE):
    return curves(rows, path, order=order, title=title)


@pytest.fixture
def studies(make_study, make_row):
    """Name to (rows, order) of studies that are hard to draw."""
    empty = {"best_accuracy": None, "best_epoch": None, "last_accuracy": None}
    some_diverged = [
        *make_study({"none": 0.9, "p5": 0.92, "p6": 0.92}, seeds=3),
        *(make_row("p1", seed, status="diverged", **empty) for seed in range(3)),
        make_row("p6", 3, status="diverged"),
    ]
    nine = make_study({v: 0.9 + 0.005 * i for i, v in enumerate(ORDER)}, epochs=20)
    twenty = make_study({v: 0.9 + 0.002 * i for i, v in enumerate(LONG)}, seeds=2)
    return {
        "nine": (nine, ORDER),
        "twenty_long_names": (twenty, LONG),
        "one_cell": ([make_row("p6", epochs=1)], ORDER),
        "one_seed": (make_study(dict.fromkeys(ORDER, 0.9), seeds=1), ORDER),
        "some_diverged": (some_diverged, ORDER),
        "all_diverged": ([make_row("p6", s, status="diverged") for s in range(2)], ORDER),
        "all_equal": ([make_row(v, s, accuracy=1.0) for v in ORDER for s in range(2)], ORDER),
        "nothing": ([], ORDER),
    }


STUDIES = (
    "nine",
    "twenty_long_names",
    "one_cell",
    "one_seed",
    "some_diverged",
    "all_diverged",
    "all_equal",
    "nothing",
)
each_study = pytest.mark.parametrize("study", STUDIES)
each_picture = pytest.mark.parametrize("draw", [draw_positions, draw_curves])


def visible_texts(figure):
    """The texts that the picture shows, with their boxes in pixels."""
    legend_texts = [text for legend in figure.legends for text in legend.get_texts()]
    texts = [figure._suptitle, *legend_texts]
    for axis in figure.axes:
        texts += [axis.xaxis.label, axis.yaxis.label, *axis.texts]
        for side, limits in ((axis.xaxis, axis.get_xlim()), (axis.yaxis, axis.get_ylim())):
            low, high = sorted(limits)
            texts += [
                tick.label1
                for tick in side.get_major_ticks()
                if low <= tick.get_loc() <= high and tick.label1.get_visible()
            ]
            texts.append(side.get_offset_text())
    shown = [text for text in texts if text.get_text().strip()]
    return [(text.get_text(), text.get_window_extent()) for text in shown]


@each_picture
@each_study
def test_a_picture_is_a_png_in_which_no_text_lies_on_another_or_outside(
    studies, tmp_path, study, draw
):
    rows, order = studies[study]
    path = tmp_path / "picture.png"
    figure = draw(rows, path, order)
    texts = visible_texts(figure)
    for (a, box), (b, other) in itertools.combinations(texts, 2):
        overlap = box.intersection(box, other)
        assert overlap is None or overlap.width < 1 or overlap.height < 1, (a, b)
    page = figure.bbox
    for text, box in texts:
        inside = page.x0 <= box.x0 and box.x1 <= page.x1 and page.y0 <= box.y0 and box.y1 <= page.y1
        assert inside, text
    with Image.open(path) as image:
        assert image.format == "PNG"
        assert image.size == tuple(np.floor(figure.get_size_inches() * DPI + 1e-6).astype(int))
        assert image.convert("L").getextrema()[0] < 128


@each_picture
def test_every_variant_is_named(studies, tmp_path, draw):
    rows, order = studies["twenty_long_names"]
    shown = {
        text.replace("\n", " ") for text, _ in visible_texts(draw(rows, tmp_path / "p", order))
    }
    assert set(order) <= shown


@each_picture
def test_a_long_title_is_broken(make_row, tmp_path, draw):
    figure = draw([make_row()], tmp_path / "p", ["p6"], title="dropout " * 30)
    box = figure._suptitle.get_window_extent()
    assert 0 <= box.x0 < box.x1 <= figure.bbox.x1


@each_picture
def test_global_settings_and_pyplot_stay_untouched(make_row, tmp_path, draw):
    before = dict(mpl.rcParams)
    draw([make_row()], tmp_path / "p", ["p6"])
    assert dict(mpl.rcParams) == before
    assert Gcf.get_all_fig_managers() == []


@each_picture
def test_a_path_that_cannot_be_written_is_an_oserror(make_row, tmp_path, draw):
    with pytest.raises(OSError, match="missing"):
        draw([make_row()], tmp_path / "missing" / "p.png", ["p6"])


def test_positions_show_each_seed_and_the_mean(make_study, tmp_path):
    rows = make_study({"none": 0.9, "p6": 0.95}, seeds=4)
    order = ["none", "p6"]
    left, _ = draw_positions(rows, tmp_path / "p", order).axes
    drawn = {line.get_label(): line for line in left.get_lines()}
    seeds = drawn["a seed"].get_xdata()
    assert sorted(seeds) == sorted(100 * row.last_accuracy for row in rows)
    (marks,) = [bars.lines[0] for bars in left.containers if bars.get_label() == "last epoch"]
    expected = [np.mean([100 * r.last_accuracy for r in rows if r.variant == v]) for v in order]
    np.testing.assert_allclose(marks.get_xdata(orig=False), expected)


def test_the_noise_is_shaded_about_zero(studies, tmp_path):
    rows, order = studies["nine"]
    _, right = draw_positions(rows, tmp_path / "p", order).axes
    bars = [patch for patch in right.patches if patch.get_width()]
    assert len(bars) == 8
    for bar in bars:
        assert bar.get_x() + bar.get_width() / 2 == pytest.approx(0)


def test_a_diverged_cell_is_told_beside_its_variant(studies, tmp_path):
    rows, order = studies["some_diverged"]
    shown = [text for text, _ in visible_texts(draw_positions(rows, tmp_path / "p", order))]
    assert {"none", "p1 (3 diverged)", "p5", "p6 (1 diverged)"} <= set(shown)


def test_curves_are_the_means_over_the_seeds(make_row, tmp_path):
    rows = [make_row("p6", 0, accuracy=0.5), make_row("p6", 1, accuracy=0.7)]
    rows += [make_row("p6", 2, accuracy=0.1, status="diverged")]
    axis = draw_curves(rows, tmp_path / "p", ["p6"]).axes[0]
    (line,) = axis.get_lines()
    assert line.get_xdata().tolist() == [1, 2, 3, 4]
    assert line.get_ydata()[-1] == pytest.approx(60)


def test_thirty_variants_have_thirty_styles():
    styles = {
        (COLOURS[i % len(COLOURS)], MARKERS[i % len(MARKERS)], DASHES[i % len(DASHES)])
        for i in range(30)
    }
    without_colour = {(MARKERS[i % len(MARKERS)], DASHES[i % len(DASHES)]) for i in range(30)}
    assert len(styles) == len(without_colour) == 30


def _linear(colour):
    rgb = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


@pytest.mark.parametrize(
    "matrix",
    [
        # Full protanopia and deuteranopia in linear RGB, after Machado et al. 2009.
        [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ],
        [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.011820, 0.042940, 0.968881],
        ],
    ],
    ids=["protanopia", "deuteranopia"],
)
def test_the_colour_blind_can_tell_the_colours_apart(matrix):
    seen = [np.array(matrix) @ _linear(colour) for colour in COLOURS]
    # Cube roots are about as the eye sees steps of light.
    seen = [np.cbrt(np.clip(rgb, 0, 1)) for rgb in seen]
    closest = min(np.linalg.norm(a - b) for a, b in itertools.combinations(seen, 2))
    assert closest > 0.1


# A picture by a command that Jupyter or Colab started, without JAX, whose import takes seconds; the
# command's own Python has no Jupyter: matplotlib finds no backend but its own.
DRAW = """
import importlib.metadata, sys, types
importlib.metadata.entry_points = lambda **which: []
package = sys.modules["flaxdrop"] = types.ModuleType("flaxdrop")
package.__path__ = [sys.argv[1]]
from flaxdrop.results import drawing, plots
figure = drawing.new_figure(2, 2, "title")
figure.add_subplot().plot([0, 1])
drawing.save(figure, sys.argv[2])
import matplotlib
print(matplotlib.rcParams._get("backend"))
"""


@pytest.mark.parametrize(
    ("backend", "stays"),
    [("module://matplotlib_inline.backend_inline", False), ("svg", True)],
)
def test_a_picture_is_drawn_whatever_backend_the_environment_names(tmp_path, backend, stays):
    picture = tmp_path / "picture.png"
    done = subprocess.run(
        [sys.executable, "-c", DRAW, flaxdrop.__path__[0], str(picture)],
        env={**os.environ, "MPLBACKEND": backend},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert (done.stdout == f"{backend}\n") == stays
    with Image.open(picture) as image:
        image.verify()
