import pytest

from flaxdrop.mask import MASKS, parse_mask


@pytest.mark.parametrize(
    ("mask", "expected"),
    [
        ("element", ("element", 1)),
        ("channel", ("channel", 1)),
        ("sample", ("sample", 1)),
        ("block", ("block", 7)),
        ("block1", ("block", 1)),
        ("block12", ("block", 12)),
    ],
)
def test_a_mask_is_a_kind_and_a_size(mask, expected):
    assert parse_mask(mask) == expected


def test_every_mask_that_is_listed_can_be_read():
    assert [parse_mask(mask)[0] for mask in MASKS] == list(MASKS)


@pytest.mark.parametrize(
    "mask", ["", "Element", "block0", "block-3", "block3x3", "channel2", "a\nb"]
)
def test_an_unknown_mask_is_refused_in_one_line_that_lists_the_known_ones(mask):
    with pytest.raises(ValueError, match=r"^mask: unknown .*") as refused:
        parse_mask(mask)
    message = str(refused.value)
    assert "\n" not in message
    assert all(known in message for known in MASKS)
