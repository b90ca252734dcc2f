import itertools

import numpy as np
import pytest
from matplotlib._pylab_helpers import Gcf

from flaxdrop.analysis import NormShift, Shift
from flaxdrop.plots.shift import draw_prediction, draw_shift
from flaxdrop.results.correlation import RankCorrelation
from flaxdrop.results.statistics import summary
from tests.plots.readable import check, words


def network(count, ratio=lambda i: 0.4 + 0.01 * i, kinds=("norm1", "norm2")):
    kind = itertools.cycle(kinds)
    spread = np.linspace(0.9, 1.1, 16)
    norms = [
        NormShift(f"stage{i}/{next(kind)}", ratio(i) * spread, 0 * spread, 0.01)
        for i in range(count)
    ]
    return Shift(tuple(norms), ("p4",), 128, 4)


@pytest.mark.parametrize(
    "shift",
    [
        network(1),
        network(7),
        network(24),
        network(109),
        network(30, kinds=[f"BatchNorm_{i}" for i in range(30)]),
        network(11, kinds=[f"BatchNorm_{i}" for i in range(11)]),
        network(5, ratio=lambda _: 1.0),
        network(5, ratio=lambda i: 10.0 ** (-5 * i)),
        network(5, ratio=lambda i: 3.0**i),
    ],
    ids=["one", "few", "named", "deep", "own_names", "many_kinds", "unshifted", "wide", "above"],
)
def test_the_picture_over_depth_is_readable(shift, tmp_path):
    path = tmp_path / "shift.png"
    figure = draw_shift(shift, path, title="a network with $dollars$")
    [axis] = figure.axes
    marks = sum(len(container.lines[0].get_xdata()) for container in axis.containers)
    assert marks == len(shift.norms)
    low, high = axis.get_ylim()
    assert low < min(norm.geometric_mean for norm in shift.norms)
    assert high > max(norm.geometric_mean for norm in shift.norms)
    shown = [t for t in axis.get_yticks() if low <= t <= high]
    assert 2 <= len(shown) <= 12
    check(figure, path)
    assert not Gcf.get_all_fig_managers()


@pytest.mark.parametrize("seeds", [1, 5])
def test_the_prediction_shows_every_variant(tmp_path, seeds):
    generator = np.random.default_rng(0)
    shifts = {f"p{i}": 0.5 - 0.05 * i for i in range(8)}
    differences = {name: summary(generator.normal(size=seeds)) for name in shifts}
    correlation = RankCorrelation(-0.9, -1.0, -0.3, 8)
    path = tmp_path / "prediction.png"
    figure = draw_prediction(
        {"before": (shifts, correlation), "after": (shifts, correlation)},
        differences,
        path,
        baseline="none",
        subtitle="digits: 300 images, rate 0.5",
    )
    assert "digits: 300 images, rate 0.5" in words(figure)
    for axis in figure.axes:
        assert len(axis.containers) == 8
        assert "-0.90 [-1.00, -0.30], 8 variants" in axis.get_title(loc="left")
        assert axis.get_xlim()[0] == 0
    check(figure, path)
    assert [words(figure).count(name) for name in shifts] == [2] * len(shifts)
    assert path.stat().st_size > 10_000


def test_a_folder_that_is_not_there_is_an_os_error(tmp_path):
    with pytest.raises(OSError, match="nowhere"):
        draw_shift(network(3), tmp_path / "nowhere" / "shift.png", title="")
