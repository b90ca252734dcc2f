import dataclasses
import re

import numpy as np
import pytest

from flaxdrop.data import Dataset
from flaxdrop.data.dataset import stratified_order
from flaxdrop.data.resize import resize


def many(counts):
    """A dataset with so many examples of each class, mixed; the pixels are the example's number."""
    labels = np.repeat(np.arange(len(counts)), counts)
    labels = np.random.RandomState(1).permutation(labels).astype(np.int32)
    images = np.arange(len(labels), dtype=np.uint32).view(np.uint8).reshape(-1, 1, 1, 4)
    names = tuple(f"class {i}" for i in range(len(counts)))
    return Dataset("many", images, labels, images, labels, names)


def numbers(images):
    return set(images.reshape(-1, 4).view(np.uint32).ravel().tolist())


def test_tells_its_classes_and_image_shape(dataset):
    assert dataset.num_classes == 3
    assert dataset.image_shape == (6, 5, 3)


@pytest.mark.parametrize(
    ("field", "change", "message"),
    [
        ("x_train", lambda x: x.astype(np.float32), "x_train: must be uint8"),
        ("x_test", lambda x: x[..., 0], "x_test: must be [N, H, W, C], got [6, 6, 5]"),
        ("x_test", lambda x: x[:, :5], "x_test: must have images of the shape of x_train"),
        ("x_train", lambda x: x[:0], "x_train: must have at least one pixel"),
        ("x_train", lambda x: x[:, :0], "x_train: must have at least one pixel"),
        ("y_train", lambda y: y.astype(np.int64), "y_train: must be int32, got int64"),
        ("y_test", lambda y: y[:-1], "y_test: must be [6], a label an image, got [5]"),
        ("y_test", lambda y: y[:, None], "y_test: must be [6], a label an image, got [6, 1]"),
        ("y_train", lambda y: y - 1, "y_train: must be labels 0..2, got -1 to 1"),
        ("y_test", lambda y: y + 1, "y_test: must be labels 0..2, got 1 to 3"),
        ("classes", lambda _: (), "classes: must be at least one name"),
    ],
)
def test_refuses_what_does_not_fit(dataset, field, change, message):
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        dataclasses.replace(dataset, **{field: change(getattr(dataset, field))})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("examples", [1, 7, 30, 100, 299, 300])
def test_first_is_balanced(examples):
    subset = many([100, 100, 100]).first(examples, None)
    counts = np.bincount(subset.y_train, minlength=3)
    assert counts.sum() == examples
    assert counts.max() - counts.min() <= 1


def test_first_follows_the_class_sizes_and_leaves_no_class_out():
    data = many([1, 50, 250])
    assert np.bincount(data.first(3, None).y_train).tolist() == [1, 1, 1]
    counts = np.bincount(data.first(61, None).y_train)
    assert np.abs(counts - np.array([1, 10, 50])).max() <= 1


def test_first_is_nested_and_keeps_order_and_labels():
    data = many([100, 120, 80])
    label_of = dict(zip(range(300), data.y_train.tolist(), strict=True))
    smaller = set()
    for examples in (5, 100, 200, 300):
        subset = data.first(None, examples)
        found = numbers(subset.x_test)
        assert len(found) == examples
        assert smaller < found
        in_order = sorted(found)
        assert subset.x_test.reshape(-1, 4).view(np.uint32).ravel().tolist() == in_order
        assert subset.y_test.tolist() == [label_of[i] for i in in_order]
        smaller = found


def test_first_of_all_changes_nothing():
    data = many([10, 20])
    for subset in (data.first(None, None), data.first(30, 30)):
        np.testing.assert_array_equal(subset.x_train, data.x_train)
        np.testing.assert_array_equal(subset.y_test, data.y_test)


@pytest.mark.parametrize("examples", [0, -1, 301])
@pytest.mark.parametrize("split", ["train_examples", "test_examples"])
def test_first_refuses_more_than_there_are(split, examples):
    asked = {"train_examples": None, "test_examples": None, split: examples}
    with pytest.raises(ValueError, match=f"^{split}: must be 1 to 300, .*got {examples}$"):
        many([300]).first(**asked)


def test_stratified_order_is_the_same_everywhere():
    # Written down: another numpy or machine must choose the same subset.
    order = stratified_order(np.array([0, 0, 0, 1, 1, 1, 2, 2, 2]))
    assert order.tolist() == [5, 8, 2, 3, 6, 1, 4, 7, 0]


def test_its_own_order_depends_on_the_examples_alone():
    data = many([20, 30])
    # Images that are there twice, with other labels.
    x = np.concatenate([data.x_train, data.x_train[:5]])
    y = np.concatenate([data.y_train, 1 - data.y_train[:5]]).astype(np.int32)
    found = []
    for seed in (0, 1):
        order = np.random.default_rng(seed).permutation(len(x))
        shuffled = dataclasses.replace(data, x_train=x[order], y_train=y[order])
        found.append(shuffled.in_own_order())
    np.testing.assert_array_equal(found[0].x_train, found[1].x_train)
    np.testing.assert_array_equal(found[0].y_train, found[1].y_train)
    found_pair = (found[0].x_train, found[0].y_train)
    examples = [(i.tobytes(), int(k)) for i, k in zip(*found_pair, strict=True)]
    assert examples == sorted((i.tobytes(), int(k)) for i, k in zip(x, y, strict=True))


def flipped(array):
    changed = array.copy()
    changed.flat[0] ^= 1
    return changed


@pytest.mark.parametrize("field", ["x_train", "y_train", "x_test", "y_test"])
def test_the_digest_tells_any_bit(dataset, field):
    other = dataclasses.replace(dataset, **{field: flipped(getattr(dataset, field))})
    assert other.digest != dataset.digest


def test_the_digest_tells_class_names_and_shapes_but_not_the_name(dataset):
    def digest(**changes):
        return dataclasses.replace(dataset, **changes).digest

    assert digest(name="other") == dataset.digest
    assert re.fullmatch(r"[0-9a-f]{32}", dataset.digest)
    flat = {f"x_{split}": getattr(dataset, f"x_{split}")[:, None, 0] for split in ("train", "test")}
    tall = {key: x.transpose(0, 2, 1, 3) for key, x in flat.items()}
    same_letters = [digest(classes=classes) for classes in (("a", "bc", "d"), ("ab", "c", "d"))]
    assert len({dataset.digest, digest(**flat), digest(**tall), *same_letters}) == 5


def test_the_digest_is_that_of_the_whole_dataset(dataset):
    part = dataset.first(5, 3)
    assert part.digest == dataset.digest
    assert resize(part, 4).digest == resize(dataset, 4).first(3, 3).digest == dataset.digest
    assert resize(dataset, 4).first(3, 3).first(2, None).digest == dataset.digest


def test_the_digest_of_its_own_order_depends_on_the_examples_alone(dataset):
    backwards = dataclasses.replace(
        dataset, x_train=dataset.x_train[::-1], y_train=dataset.y_train[::-1]
    )
    assert backwards.digest != dataset.digest
    assert backwards.in_own_order().digest == dataset.in_own_order().digest


def shaped(*shape):
    x, y = np.zeros((2, *shape), np.uint8), np.array([0, 1], np.int32)
    return Dataset("shaped", x, y, x, y, ("a", "b"))


@pytest.mark.parametrize(
    "shape", [(3, 32, 32), (1, 28, 28), (4, 9, 9), (3, 48, 64), (13, 64, 64), (2, 5, 5), (3, 2, 2)]
)
def test_channels_first_are_refused(shape):
    with pytest.raises(ValueError, match=r"x_train: must be .*: transpose\(0, 2, 3, 1\)"):
        shaped(*shape)


@pytest.mark.parametrize(
    "shape",
    [
        (32, 32, 3),
        (8, 8, 1),
        (64, 64, 13),
        (1, 1, 4),
        (3, 3, 3),
        (3, 32, 3),
        (1, 28, 1),
        (3, 3, 8),
        (1, 1, 8),
        (4, 4, 2),
        (48, 64, 2),
        (8, 8, 8),
    ],
)
def test_small_images_and_many_channels_are_not_channels_first(shape):
    assert shaped(*shape).image_shape == shape


def test_one_class_is_nothing_to_learn(dataset):
    assert dataset.check_learnable() is dataset
    ones = np.ones_like(dataset.y_train)
    with pytest.raises(ValueError, match=r"y_train: must have at least 2 classes, got 1 \(bee\)"):
        dataclasses.replace(dataset, y_train=ones, y_test=ones[:6]).check_learnable()


def test_a_test_label_that_training_lacks_cannot_be_learnt(dataset):
    found = dataclasses.replace(dataset, y_train=dataset.y_train % 2)
    with pytest.raises(ValueError, match=r"y_test: must have no label.*, got 2 \(cat\)"):
        found.check_learnable()
    found = dataclasses.replace(dataset, y_test=dataset.y_test % 2)
    assert found.check_learnable() is found


def test_it_says_what_it_is(dataset):
    x_train, x_test = np.clip(dataset.x_train, 3, 200), np.clip(dataset.x_test, 2, 210)
    x_train[0, 0, 0, 0], x_test[0, 0, 0, :2] = 100, (2, 210)
    text = dataclasses.replace(dataset, x_train=x_train, x_test=x_test).describe(7)
    for words in ("small", "7 of 12 ex", "6 to test", "3 classes", "6x5x3", "pixels 2..210"):
        assert words in text


def test_a_drawn_part_is_stratified_nested_and_another_for_every_seed():
    data = many([100, 200])
    parts = [data.drawn(60, seed) for seed in range(3)]
    for part in parts:
        assert (np.diff(part) > 0).all()
        assert np.bincount(data.y_train[part]).tolist() == [20, 40]
    assert len({tuple(part) for part in parts}) == 3
    assert set(data.drawn(30, 1)) < set(parts[1])
    np.testing.assert_array_equal(data.drawn(60, 1), parts[1])
    # Every example is as likely: 400 draws of a fifth; chance passes 5.5 deviations once in 1e5.
    drawn = np.bincount(np.concatenate([data.drawn(60, s) for s in range(400)]), minlength=300)
    assert np.abs(drawn - 80).max() < 5.5 * 8


@pytest.mark.parametrize("examples", [0, 301])
def test_no_part_is_drawn_of_more_than_there_are(examples):
    with pytest.raises(ValueError, match=f"^train_examples: must be 1 to 300, .*got {examples}$"):
        many([300]).drawn(examples, 0)
