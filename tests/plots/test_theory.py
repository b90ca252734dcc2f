import numpy as np
import pytest

from flaxdrop.plots.theory import Series, module_test
from flaxdrop.theory.simulation import Estimate
from tests.plots.readable import check, words


def series(slope):
    points = {x: Estimate(slope * x, 0.01, 10) for x in (0.0, 0.5, 1.0)}
    return Series(points, lambda x: slope * x)


@pytest.mark.parametrize("panels", [1, 2])
def test_marks_are_the_simulated_points_on_their_named_lines(tmp_path, panels):
    found = {f"rate {i}": series(0.2 * i) for i in range(5)}
    path = tmp_path / "p.png"
    by_panel = {f"panel {i}": found for i in range(panels)}
    figure = module_test(by_panel, path, label="input", title="How large is the shift?")
    check(figure, path)
    for name in (*found, *by_panel):
        assert words(figure).count(name) == (panels if name in found else 1)
    for axis in figure.axes:
        drawn = [bars.lines[0].get_data(orig=False) for bars in axis.containers]
        for (x, y), one in zip(drawn, found.values(), strict=True):
            np.testing.assert_allclose(y, [one.closed_form(at) for at in x])
