import os
import pathlib
import re
import shutil

import numpy as np
import pytest
from PIL import Image

from flaxdrop.data import folder, image_file, load

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
        load(f"folder:{root}", image_size=32)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_images_of_any_size_become_square(images):
    data = load(f"folder:{images}", image_size=32)
    assert data.classes == ("ant", "bee")
    assert data.image_shape == (32, 32, 3)
    assert data.y_train.tolist() == data.y_test.tolist() == [0, 0, 1, 1]
    for x, colours in ((data.x_train, (RED, GREEN)), (data.x_test, (RED, BLUE))):
        for label, colour in enumerate(colours):
            assert (x[2 * label : 2 * label + 2] == colour).all()


def test_image_size(images):
    assert load(f"folder:{images}", image_size=24).image_shape == (24, 24, 3)
    assert load(f"folder:{images}", image_size=20).image_shape == (20, 20, 3)


def test_images_of_one_size_stay_as_they_are(tmp_path):
    for split in ("train", "test"):
        for label in ("ant", "bee"):
            (tmp_path / split / label).mkdir(parents=True)
            Image.new("RGB", (40, 30), RED).save(tmp_path / split / label / "image.png")
    assert load(f"folder:{tmp_path}").image_shape == (30, 40, 3)


def test_images_of_several_sizes_need_an_image_size(images):
    with pytest.raises(ValueError, match=r"^image_size: .* 40x30 pixels in .* 8x50 pixels in "):
        load(f"folder:{images}")


def test_the_order_is_that_of_the_names(images):
    for i in (10, 3):
        Image.new("RGB", (9, 9), (i, i, i)).save(images / "train" / "ant" / f"{i}.png")
    data = load(f"folder:{images}", image_size=32)
    # 0.png, 1.png, 10.png, 3.png
    assert data.x_train[:4, 0, 0, 1].tolist() == [0, 0, 10, 3]


def test_hidden_files_and_those_of_the_system_are_not_worth_a_word(images, caplog):
    before = load(f"folder:{images}", image_size=32)
    (images / "train" / "ant" / "._0.png").write_text("not an image")
    (images / "train" / "ant" / "Thumbs.db").write_text("not an image either")
    (images / "train" / ".DS_Store").touch()
    (images / "test" / ".thumbnails").mkdir()
    assert load(f"folder:{images}", image_size=32).digest == before.digest
    assert not caplog.records


def test_other_files_are_counted(images, caplog):
    before = load(f"folder:{images}", image_size=32)
    (images / "train" / "notes.txt").write_text("not a class")
    Image.new("RGB", (9, 9)).save(images / "test" / "0.png")
    (images / "train" / "ant" / "more").mkdir()
    (images / "train" / "ant" / "more" / "0.heic").write_text("not an image")
    assert load(f"folder:{images}", image_size=32).digest == before.digest
    (record,) = caplog.records
    assert "left out 3 files" in record.getMessage()
    assert f"such as {pathlib.Path('train/ant/more/0.heic')}" in record.getMessage()
    assert "\n" not in record.getMessage()


def test_images_in_folders_within_a_class(images):
    (images / "train" / "ant" / "b" / "c").mkdir(parents=True)
    (images / "elsewhere").mkdir()
    (images / "train" / "bee" / "linked").symlink_to(images / "elsewhere")
    for i, place in enumerate(("train/ant/b/0.png", "train/ant/b/c/0.png", "elsewhere/0.png")):
        Image.new("RGB", (9, 9), (i, i, i)).save(images / place)
    data = load(f"folder:{images}", image_size=32)
    assert data.classes == ("ant", "bee")
    # ant: 0.png, 1.png, b/0.png, b/c/0.png; bee: 0.png, 1.png, linked/0.png
    assert data.y_train.tolist() == [0] * 4 + [1] * 3
    assert data.x_train[[2, 3, 6], 0, 0].tolist() == [[0, 0, 0], [1, 1, 1], [2, 2, 2]]


@pytest.mark.parametrize("suffix", ["jfif", "jpe", "JPG", "jp2", "avif", "pbm", "tga"])
def test_every_ending_that_pillow_reads(images, suffix):
    if f".{suffix.lower()}" not in image_file.suffixes():
        pytest.skip("not in this Pillow")
    mode = "1" if suffix == "pbm" else "RGB"
    Image.new(mode, (9, 9), "white").save(images / "train" / "ant" / f"2.{suffix}")
    assert (load(f"folder:{images}", image_size=32).x_train[2] >= 250).all()


def test_kept_decoded_until_a_file_changes(images, cache_folder):
    load(f"folder:{images}", image_size=32)
    (kept,) = cache_folder.glob("folder-*")
    written = kept.stat().st_mtime_ns
    load(f"folder:{images}", image_size=32)
    assert kept.stat().st_mtime_ns == written
    Image.new("RGB", (9, 9), BLUE).save(images / "train" / "ant" / "0.png")
    assert (load(f"folder:{images}", image_size=32).x_train[0] == BLUE).all()


def test_files_that_swap_places_swap_labels(images):
    ant, bee = images / "train" / "ant" / "0.png", images / "train" / "bee" / "0.png"
    contents = []
    for path, colour in ((ant, (1, 2, 3)), (bee, (4, 5, 6))):
        Image.new("RGB", (9, 9), colour).save(path)
        contents.append(path.read_bytes())
    assert len(contents[0]) == len(contents[1])

    def colours():
        os.utime(ant, ns=(5, 5))
        os.utime(bee, ns=(5, 5))
        return load(f"folder:{images}", image_size=32).x_train[[0, 2], 0, 0].tolist()

    assert colours() == [[1, 2, 3], [4, 5, 6]]
    ant.rename(images / "aside")
    bee.rename(ant)
    (images / "aside").rename(bee)
    assert colours() == [[4, 5, 6], [1, 2, 3]]
    for path, content in zip((ant, bee), contents, strict=True):
        path.write_bytes(content)
    assert colours() == [[1, 2, 3], [4, 5, 6]]


def test_another_decoder_decodes_anew(images, cache_folder, monkeypatch):
    load(f"folder:{images}", image_size=32)
    monkeypatch.setattr("flaxdrop.data.cache.DECODER", 1)
    load(f"folder:{images}", image_size=32)
    assert len(list(cache_folder.glob("folder-*"))) == 2


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
    assert not list(cache_folder.glob("folder-*"))


@pytest.mark.parametrize(("split", "other"), [("train", "test"), ("test", "train")])
def test_a_class_is_missing(images, split, other):
    (images / other / "cow").mkdir()
    Image.new("RGB", (9, 9)).save(images / other / "cow" / "0.png")
    assert error_of(images).endswith(f"no images in {split}/ of class cow")
    (images / split / "cow").mkdir()
    assert error_of(images).endswith(f"no images in {split}/ of class cow")


def test_a_class_without_images_says_what_was_left_out(images):
    for split in ("train", "test"):
        (images / split / "cow").mkdir()
        (images / split / "cow" / "0.heic").touch()
    assert "of class cow (left out 2 files" in error_of(images)


def test_one_class(images):
    for split in ("train", "test"):
        shutil.rmtree(images / split / "ant")
    assert "classes: must be at least 2 folders" in error_of(images)


@pytest.mark.parametrize("place", ["train/ant/2.png", "train/cow"])
def test_a_link_that_leads_nowhere(images, place):
    (images / place).symlink_to("gone.png")
    assert f"{images / place}: is a link to gone.png, which is missing" in error_of(images)


def test_a_link_that_leads_in_a_circle(images):
    (images / "train" / "ant" / "all").symlink_to(images / "train")
    assert "is a link to a folder that it lies in" in error_of(images)


def test_a_pipe_in_place_of_an_image(images):
    os.mkfifo(images / "train" / "ant" / "2.png")
    assert "2.png: must be a file" in error_of(images)


def test_a_folder_that_may_not_be_read(images, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "scandir", refuse)
    assert error_of(images).endswith(f"{images / 'train'}: Permission denied")


def test_a_folder_without_splits_is_split_once_and_for_all(tmp_path):
    """70 % train, 15 % test, and the two share nothing; of Caltech-101's 9,144 1,371 test."""
    root = tmp_path / "images"
    for label in ("ant", "bee"):
        (root / label).mkdir(parents=True)
        for i in range(50):
            grey = i + 100 * (label == "bee")
            Image.new("RGB", (3, 3), (grey,) * 3).save(root / label / f"{i:02}.png")
    data = load(f"split:{root}")
    assert (len(data.x_train), len(data.x_test)) == (70, 15)
    train, test = (set(x[:, 0, 0, 0].tolist()) for x in (data.x_train, data.x_test))
    assert len(train) == 70
    assert not train & test
    for x, y in ((data.x_train, data.y_train), (data.x_test, data.y_test)):
        np.testing.assert_array_equal(x[:, 0, 0, 0] >= 100, y)
    again = load(f"split:{root}")
    np.testing.assert_array_equal(again.x_test, data.x_test)
    assert int(folder._TEST * 9144) == 1371


def test_a_split_without_images_is_refused_in_one_line(tmp_path):
    root = tmp_path / "images"
    (root / "ant").mkdir(parents=True)
    with pytest.raises(ValueError, match=r"^dataset split:.*: no images in train/CLASS/$"):
        load(f"split:{root}")
