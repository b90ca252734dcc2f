import numpy as np
import pytest

from flaxdrop.data import load


@pytest.mark.parametrize(
    "spec", ["", "mnist", "npz", "npz:", "folder:", "split:", "digits:8", "cifar", "CIFAR10"]
)
def test_unknown_dataset_lists_the_known_ones(spec):
    with pytest.raises(
        ValueError,
        match=r"^dataset: must be digits, .* or split:DIR, got ",
    ) as caught:
        load(spec)
    assert repr(spec) in str(caught.value)


@pytest.mark.parametrize("image_size", [0, -32])
def test_image_size_must_be_positive(image_size):
    with pytest.raises(ValueError, match=f"^image_size: must be at least 1, got {image_size}"):
        load("digits", image_size=image_size)


def test_image_size_resizes_any_source(tmp_path, arrays):
    path = tmp_path / "data.npz"
    np.savez(path, **arrays)
    assert load(f"npz:{path}", image_size=4).image_shape == (4, 4, 3)
    assert load("digits", image_size=16).image_shape == (16, 16, 1)
    np.testing.assert_array_equal(load("digits", image_size=8).x_test, load("digits").x_test)
