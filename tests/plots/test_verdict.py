import dataclasses

import pytest

from flaxdrop.plots.verdict import GAIN, LOSS, SAME, UNDECIDED, VERDICTS, ends, verdict
from flaxdrop.results.effect import Effect

EFFECT = Effect(2.0, 0.01, 20, 0.01, a="p6", b="none", measure="accuracy", n=(5, 5), corrected=0.01)


def changed(**fields):
    return dataclasses.replace(EFFECT, **fields)


@pytest.mark.parametrize(
    ("effect", "expected"),
    [
        (EFFECT, GAIN),
        (changed(mean=-2.0), LOSS),
        (changed(measure="nll"), LOSS),
        (changed(mean=-2.0, measure="nll"), GAIN),
        (changed(mean=0.1, corrected=0.8), SAME),
        (changed(mean=0.4, corrected=0.04), GAIN),
        (changed(mean=0.1, corrected=0.8, measure="nll"), UNDECIDED),
        (changed(mean=0.9, corrected=0.06), UNDECIDED),
        (changed(mean=-0.9, corrected=float("nan"), seed_variance=float("nan")), UNDECIDED),
    ],
)
def test_a_colour_is_of_the_corrected_p_and_then_of_the_test_for_the_same(effect, expected):
    assert verdict(effect) is expected


def test_nearly_equal_effects_have_no_opposite_colours_unless_both_are_significant():
    pair = [changed(mean=mean, corrected=0.4) for mean in (-0.05, 0.05)]
    assert len({verdict(effect) for effect in pair}) == 1


def test_every_verdict_can_be_told_without_colour():
    assert len({(one.marker, one.filled) for one in VERDICTS}) == len(VERDICTS)


def test_no_interval_goes_beyond_a_hundred_points():
    wide = changed(mean=-70.0, seed_variance=4000.0, seed_freedom=2)
    assert ends(wide) == (-100.0, 100.0)
    assert ends(changed(measure="nll", mean=-70.0, seed_variance=4000.0))[0] < -100
    assert ends(changed(seed_variance=float("nan"))) == (2.0, 2.0)
