import pytest

from flaxdrop.theory.head import pooled, pooling_noise
from flaxdrop.theory.variance import Moments

UNIT = Moments(1.0, 1.5)


@pytest.mark.parametrize("correlation", [0.0, 0.3, 1.0])
def test_channel_masks_make_the_places_equal(correlation):
    before, after = (
        pooling_noise(UNIT, 0.2, 64, before=before, correlation=correlation, mask="channel")
        for before in (True, False)
    )
    assert before == after


def test_before_the_pooling_the_noise_is_averaged_away_whatever_the_correlation():
    noises = [
        pooling_noise(UNIT, 0.2, 64, before=True, correlation=correlation)
        for correlation in (0.0, 0.5, 1.0)
    ]
    assert noises == pytest.approx([0.25 * 1.5 / 64] * 3)


def test_after_the_pooling_the_mean_and_the_correlation_remain():
    noises = [
        pooling_noise(UNIT, 0.2, 64, before=False, correlation=correlation)
        for correlation in (0.0, 0.5, 1.0)
    ]
    assert noises[0] == pytest.approx(0.25 * (0.5 + 1 / 64))
    assert noises[0] < noises[1] < noises[2] == pytest.approx(0.25 * 1.5)


def test_one_pixel_is_its_own_mean():
    assert pooled(UNIT, 1, correlation=0.7) == UNIT
    places = [pooling_noise(UNIT, 0.2, 1, before=b, correlation=0.0) for b in (True, False)]
    assert places[0] == pytest.approx(places[1])


@pytest.mark.parametrize(
    ("pixels", "correlation", "field"),
    [(0, 0.0, "pixels"), (64, 1.1, "correlation"), (64, -0.1, "correlation")],
)
def test_pixels_that_cannot_be(pixels, correlation, field):
    with pytest.raises(ValueError, match=f"^{field}: [^\n]+$"):
        pooled(UNIT, pixels, correlation)


def test_another_mask_is_refused():
    with pytest.raises(ValueError, match=r"^mask: [^\n]+'block'$"):
        pooling_noise(UNIT, 0.2, 64, before=True, correlation=0.0, mask="block")
