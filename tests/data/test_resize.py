import numpy as np
from PIL import Image

from flaxdrop.data.resize import resize, square


def test_own_size_is_left_alone(dataset):
    squared = resize(dataset, 4)
    assert resize(squared, 4) is squared


def test_any_number_of_channels_each_on_its_own(dataset):
    small = resize(dataset, 3)
    assert small.image_shape == (3, 3, 3)
    for channel in range(3):
        plane = square(Image.fromarray(dataset.x_test[2, :, :, channel]), 3)
        np.testing.assert_array_equal(small.x_test[2, :, :, channel], np.asarray(plane))
    np.testing.assert_array_equal(small.y_train, dataset.y_train)


def test_the_centre_is_kept():
    wide = np.zeros((10, 30, 3), np.uint8)
    wide[:, 9:21] = 200  # a pixel more on either side: resizing looks at the neighbours
    assert (np.asarray(square(Image.fromarray(wide), 5)) == 200).all()
    assert (np.asarray(square(Image.fromarray(wide.transpose(1, 0, 2)), 5)) == 200).all()
    wide[:, :13] = wide[:, 17:] = 0
    middle = np.asarray(square(Image.fromarray(wide), 5))
    assert (middle[:, 2] == 200).all()
    assert (middle[:, [0, 4]] == 0).all()


def test_shrinking_averages():
    checks = np.indices((64, 64)).sum(axis=0) % 2 * 200
    small = np.asarray(square(Image.fromarray(checks.astype(np.uint8)), 8))
    assert np.abs(small[1:-1, 1:-1].astype(int) - 100).max() <= 2
