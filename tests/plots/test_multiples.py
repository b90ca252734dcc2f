import pytest

from flaxdrop.plots.multiples import outliers, set_scales
from flaxdrop.plots.style import new_figure, panels


@pytest.mark.parametrize(
    ("spans", "expected"),
    [
        ([], []),
        ([3.0], [False]),
        ([0.0, 0.0], [False, False]),
        ([0.0, 5.0], [False, False]),
        ([1.0, 2.0, 30.0], [False, False, True]),
        ([40.0, 1.0, 2.0, 30.0], [True, False, False, True]),
        ([1.0, 2.0, 4.0, 8.0], [False] * 4),
    ],
)
def test_the_few_that_span_three_times_the_others_are_apart(spans, expected):
    assert outliers(spans) == expected


def test_panels_of_one_scale_share_their_limits_and_the_first_of_a_row_has_numbers():
    figure = new_figure(10, 4, "")
    flat = [axis for row in panels(figure, 2, 3) for axis in row]
    shown = dict.fromkeys(flat, (0.0, 1.0)) | {flat[1]: (-90.0, 1.0)}
    assert set_scales(shown, 3) == [False, True, False, False, False, False]
    for axis, (low, high) in shown.items():
        assert axis.get_ylim()[0] < low < high < axis.get_ylim()[1]
    assert len({axis.get_ylim() for axis in flat}) == 2
    numbered = [axis.yaxis.get_tick_params()["labelleft"] for axis in flat]
    assert numbered == [True, True, False, True, False, False]
