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
from flaxdrop.plots.style import (
    COLOURS,
    MARKERS,
    Entry,
    new_figure,
    panels,
    save,
    widen,
)
from flaxdrop.plots.verdict import VERDICTS
from tests.plots.readable import check, words

TEXT = "channel dropout before pooling, of $x_1$, in blocks 1 and 2, " * 4 + "W" * 80


@pytest.mark.parametrize("entries", [0, 2, 12])
@pytest.mark.parametrize("words_", ["short", TEXT])
def test_title_key_panels_and_note_lie_below_each_other(tmp_path, entries, words_):
    key = [Entry(f"the {i}th mark", {"marker": "o", "color": "black"}) for i in range(entries)]
    figure = new_figure(10, 2, words_, words_, key=key, note=words_)
    [[axis]] = panels(figure, 1, 1)
    axis.plot([0, 1])
    check(save(figure, tmp_path / "p"), tmp_path / "p")
    assert {entry.label for entry in key} <= set(words(figure))
    whole = axis.get_tightbbox()
    for text in figure.texts:
        box = text.get_window_extent()
        assert box.y0 >= whole.y1 - 1 or box.y1 <= whole.y0 + 1


def test_limits_leave_air_but_not_beyond_a_hundred_percent():
    assert widen(99.0, 100.0, least=0.5, percent=True)[1] == 100
    assert widen(0.0, 40.0, least=0.5, percent=True)[0] == 0
    low, high = widen(3.0, 3.0, least=0.5)
    assert low < 3 < high
    assert high - low == pytest.approx(0.5)


def test_global_settings_and_pyplot_stay_untouched(tmp_path):
    before = dict(mpl.rcParams)
    figure = new_figure(4, 2, "title")
    panels(figure, 1, 2)
    save(figure, tmp_path / "p")
    assert dict(mpl.rcParams) == before
    assert Gcf.get_all_fig_managers() == []


def test_every_colour_has_a_mark():
    assert len(set(MARKERS)) == len(set(COLOURS)) == len(MARKERS) == len(COLOURS)


def _linear(colour):
    rgb = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


@pytest.mark.parametrize(
    "colours", [COLOURS, sorted({one.colour for one in VERDICTS})], ids=["kinds", "verdicts"]
)
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
def test_the_colour_blind_can_tell_the_colours_apart(matrix, colours):
    seen = [np.array(matrix) @ _linear(colour) for colour in colours]
    # Cube roots are about as the eye sees steps of light.
    seen = [np.cbrt(np.clip(rgb, 0, 1)) for rgb in seen]
    closest = min(np.linalg.norm(a - b) for a, b in itertools.combinations(seen, 2))
    assert closest > 0.15


# A picture by a command that Jupyter or Colab started, without JAX, whose import takes seconds; the
# command's own Python has no Jupyter: matplotlib finds no backend but its own.
DRAW = """
import importlib.metadata, sys, types
importlib.metadata.entry_points = lambda **which: []
package = sys.modules["flaxdrop"] = types.ModuleType("flaxdrop")
package.__path__ = [sys.argv[1]]
from flaxdrop.plots import style
figure = style.new_figure(2, 2, "title")
figure.add_subplot().plot([0, 1])
style.save(figure, sys.argv[2])
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
