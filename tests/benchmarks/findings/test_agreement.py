import dataclasses
import math

from benchmarks.findings.agreement import agreement
from flaxdrop.results.comparison import Effect
from flaxdrop.results.statistics import paired

PUBLISHED = {"BN": 0.85, "up": 0.87, "down": 0.80, "small": 0.86}


def effect(mean, p_value=0.01, noise=math.nan):
    return Effect(paired({0: mean, 1: mean + 0.1}, {0: 0.0, 1: 0.1}), p_value, noise)


def test_what_stands_out_agrees_or_not_by_its_sign():
    ours = {"up": effect(1.5), "down": effect(2.0), "small": effect(1.0, p_value=0.06)}
    assert agreement(ours, PUBLISHED, "BN") == [
        "Best accuracy against BN, agrees: up (+1.50 points, published +2.00).",
        "Best accuracy against BN, does not agree: down (+2.00 points, published -5.00).",
        "Best accuracy against BN, undecided: small (+1.00 points, published +1.00).",
    ]


def test_what_is_smaller_than_the_noise_is_undecided():
    (line,) = agreement({"up": effect(1.5, noise=2.0)}, PUBLISHED, "BN")
    assert "undecided: up" in line


def test_what_is_not_published_is_left_out():
    assert agreement({"new": effect(1.0)}, PUBLISHED, "BN") == []
    assert agreement({"up": effect(1.0)}, {}, "BN") == []
    none = dataclasses.replace(effect(1.0), difference=paired({}, {}))
    assert agreement({"up": none}, PUBLISHED, "BN") == []
