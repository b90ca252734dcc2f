import pytest

from flaxdrop.plots.style import SMALL
from flaxdrop.plots.text import balance, text_width, wrap

TEXT = "channel dropout before pooling, of $x_1$, in blocks 1 and 2, " * 4 + "W" * 80


@pytest.mark.parametrize("breaks", [wrap, balance])
@pytest.mark.parametrize("width", [0.5, 2.0, 9.0])
def test_broken_lines_are_no_wider_and_lose_nothing(breaks, width):
    lines = breaks(TEXT, width, SMALL)
    assert max(text_width(line, SMALL) for line in lines) <= width
    assert "".join(lines).replace(" ", "") == TEXT.replace(" ", "")


def test_balanced_lines_are_as_many_and_the_widest_is_no_wider():
    for width in (1.5, 3.0, 5.0):
        lines, even = (breaks(TEXT[:200], width, SMALL) for breaks in (wrap, balance))
        assert len(lines) == len(even)
        widest = [max(text_width(line, SMALL) for line in one) for one in (lines, even)]
        assert widest[1] <= widest[0]
