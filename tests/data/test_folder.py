import re

import numpy as np
import pytest
from PIL import Image

from flaxdrop.data import load

RED, GREEN, BLUE = (200, 0, 0), (0, 200, 0), (0, 0, 200)


@pytest.fixture
def images(tmp_path):
    """A folder of two classes: ant is red, bee green in train/ and blue in test/."""
    root = tmp_path / "images"
    for split, label, colour, size in [
        ("train", "ant", RED, (40, 30)),
        ("train", "bee", GREEN, (8, 50)),
        ("test", "ant", RED, (33, 33)),
        ("test", "bee", BLUE, (100, 64)),
    ]:
        (root / split / label).mkdir(parents=True)
        for i in range(2):
            Image.new("RGB", size, colour).save(root / split / label / f"{i}.png")
    return root


def error_of(root):
    with pytest.raises(ValueError, match=re.escape(f"dataset folder:{root}: ")) as caught:
        load(f"folder:{root}")
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_images_of_any_size_become_square(images):
    data = load(f"folder:{images}")
    assert data.classes == ("ant", "bee")
    assert data.image_shape == (32, 32, 3)
    assert data.y_train.tolist() == data.y_test.tolist() == [0, 0, 1, 1]
    for x, colours in ((data.x_train, (RED, GREEN)), (data.x_test, (RED, BLUE))):
        for label, colour in enumerate(colours):
            assert (x[2 * label : 2 * label + 2] == colour).all()


def test_image_size(images):
    assert load(f"folder:{images}", image_size=24).image_shape == (24, 24, 3)
    assert load(f"folder:{images}", image_size=20).image_shape == (20, 20, 3)


def test_the_order_is_that_of_the_names(images):
    for i in (10, 3):
        Image.new("RGB", (9, 9), (i, i, i)).save(images / "train" / "ant" / f"{i}.png")
    data = load(f"folder:{images}")
    # 0.png, 1.png, 10.png, 3.png
    assert data.x_train[:4, 0, 0, 1].tolist() == [0, 0, 10, 3]


@pytest.mark.parametrize(
    ("mode", "colour", "expected"),
    [
        ("1", 1, (255, 255, 255)),
        ("L", 77, (77, 77, 77)),
        ("LA", (77, 0), (77, 77, 77)),
        ("RGBA", (10, 20, 30, 0), (10, 20, 30)),
        ("I;16", 77 * 256 + 5, (77, 77, 77)),
        ("P", 0, (10, 20, 30)),
    ],
)
def test_every_mode_becomes_rgb(images, mode, colour, expected):
    image = Image.new(mode, (40, 40), colour)
    options = {}
    if mode == "P":
        image.putpalette([10, 20, 30, 40, 50, 60])
        options["transparency"] = bytes([0, 255])
    image.save(images / "train" / "ant" / "0.png", **options)
    assert (load(f"folder:{images}").x_train[0] == expected).all()


def test_jpegs_of_four_inks_and_turned_cameras(images):
    Image.new("CMYK", (40, 40), (0, 0, 0, 255)).save(images / "train" / "ant" / "2.jpg")
    turned = Image.new("RGB", (40, 40), RED)
    turned.paste(BLUE, (0, 0, 40, 20))  # the upper half, which is to be the right one
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation: turn by 90 degrees clockwise
    turned.save(images / "train" / "ant" / "3.JPEG", exif=exif)
    data = load(f"folder:{images}")
    assert data.x_train[2].max() < 10
    assert data.x_train[3, :, 4].argmax(axis=-1).tolist() == [0] * 32
    assert data.x_train[3, :, -4].argmax(axis=-1).tolist() == [2] * 32


def test_other_and_hidden_files_are_ignored(images):
    before = load(f"folder:{images}")
    (images / "train" / "notes.txt").write_text("not a class")
    (images / "train" / "ant" / "notes.txt").write_text("not an image")
    (images / "train" / "ant" / "._0.png").write_text("not an image either")
    (images / "test" / ".thumbnails").mkdir()
    after = load(f"folder:{images}")
    np.testing.assert_array_equal(before.x_train, after.x_train)
    assert after.classes == before.classes


def test_kept_decoded_until_a_file_changes(images, cache_folder):
    load(f"folder:{images}")
    (kept,) = cache_folder.iterdir()
    written = kept.stat().st_mtime_ns
    load(f"folder:{images}")
    assert kept.stat().st_mtime_ns == written
    Image.new("RGB", (9, 9), BLUE).save(images / "train" / "ant" / "0.png")
    assert (load(f"folder:{images}").x_train[0] == BLUE).all()


def test_no_such_folder(tmp_path):
    assert error_of(tmp_path / "nowhere").endswith("no such folder")


def test_a_file_is_to_be_unpacked(tmp_path):
    (tmp_path / "images.zip").write_bytes(b"PK")
    assert error_of(tmp_path / "images.zip").endswith("is a file, unpack it and give the folder")


@pytest.mark.parametrize("split", ["train", "test"])
def test_a_split_is_missing(images, split):
    (images / split).rename(images / "validation")
    assert f"no folder {split}/ in it" in error_of(images)


@pytest.mark.parametrize("split", ["train", "test"])
def test_no_images(images, split):
    for path in (images / split).glob("*/*"):
        path.rename(path.with_suffix(".txt"))
    assert f"no images in {split}/" in error_of(images)


def test_images_without_class_folders(tmp_path):
    for split in ("train", "test"):
        (tmp_path / split).mkdir()
        Image.new("RGB", (9, 9)).save(tmp_path / split / "0.png")
    assert "no images in train/CLASS/" in error_of(tmp_path)


@pytest.mark.parametrize("keep", [0, 20, -30])
def test_an_unreadable_image_is_named(images, cache_folder, keep):
    path = images / "train" / "bee" / "1.png"
    path.write_bytes(path.read_bytes()[:keep])
    assert f"image {path} cannot be read" in error_of(images)
    assert not cache_folder.exists()


@pytest.mark.parametrize(("split", "other"), [("train", "test"), ("test", "train")])
def test_a_class_is_missing(images, split, other):
    (images / other / "cow").mkdir()
    Image.new("RGB", (9, 9)).save(images / other / "cow" / "0.png")
    assert error_of(images).endswith(f"no images in {split}/ of class cow")
    (images / split / "cow").mkdir()
    assert error_of(images).endswith(f"no images in {split}/ of class cow")
