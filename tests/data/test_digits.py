import numpy as np

from flaxdrop.data import load


def test_the_split_is_complete_stratified_and_disjoint():
    from sklearn.datasets import load_digits

    data = load("digits")
    assert data.x_train.shape == (900, 8, 8, 1)
    assert data.x_test.shape == (897, 8, 8, 1)
    for y in (data.y_train, data.y_test):
        share = np.bincount(y) / len(y)
        np.testing.assert_allclose(share, np.bincount(load_digits().target) / 1797, atol=1.5e-3)
    both = np.concatenate([data.x_train, data.x_test]).reshape(1797, 64)
    labels = np.concatenate([data.y_train, data.y_test])
    ours = sorted((*x, y) for x, y in zip(both.tolist(), labels.tolist(), strict=True))
    source = load_digits()
    theirs = sorted(
        (*(15 * x).astype(int).tolist(), int(y))
        for x, y in zip(source.data, source.target, strict=True)
    )
    assert ours == theirs


def test_pixels_are_scaled_and_classes_named():
    data = load("digits")
    assert data.x_train.max() == 240
    assert data.classes == tuple("0123456789")


def test_loading_twice_gives_the_same():
    first, second = load("digits"), load("digits")
    np.testing.assert_array_equal(first.x_test, second.x_test)
    np.testing.assert_array_equal(first.y_train, second.y_train)
