"""Pictures of known values, written by Pillow, NumPy or by hand, come out with those values."""

import functools
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from flaxdrop.data import image_file
from flaxdrop.data.resize import square

GREY = np.array([[0, 0, 1, 1], [2, 2, 3, 3], [4, 4, 5, 5], [6, 6, 7, 7]])  # eighths of the range


def eighths(largest, dtype):
    return (GREY * largest // 7).astype(dtype)


def to_square(size):
    return functools.partial(square, size=size)


def read(path):
    return image_file.read(path, to_square(4))


def error_of(path):
    with pytest.raises(ValueError) as caught:  # noqa: PT011 (the callers look at the words)
        read(path)
    message = str(caught.value)
    assert "\n" not in message
    assert "Error" not in message
    return message


def assert_grey(pixels, values, largest):
    expected = np.floor(255 * values.astype(float) / largest + 0.5)
    np.testing.assert_array_equal(pixels, np.repeat(expected[..., None], 3, axis=-1))


@pytest.mark.parametrize("largest", [1, 7, 100, 255, 256, 1000, 4095, 65535])
@pytest.mark.parametrize("kind", ["binary", "text"])
def test_pgm_of_any_largest_value(tmp_path, largest, kind):
    values = eighths(largest, ">u2" if largest > 255 else "u1")
    content = values.tobytes() if kind == "binary" else " ".join(map(str, values.ravel())).encode()
    path = tmp_path / "grey.pgm"
    path.write_bytes(b"P%d\n4 4\n%d\n" % (5 if kind == "binary" else 2, largest) + content + b"\n")
    assert_grey(read(path), values, largest)


@pytest.mark.parametrize("largest", [3, 255, 1000, 65535])
def test_ppm_of_any_largest_value(tmp_path, largest):
    values = eighths(largest, ">u2" if largest > 255 else "u1")
    path = tmp_path / "colour.ppm"
    colour = np.repeat(values[..., None], 3, axis=-1)
    path.write_bytes(b"P6\n4 4\n%d\n" % largest + colour.tobytes())
    assert_grey(read(path), values, largest)


@pytest.mark.parametrize(
    ("suffix", "dtype"),
    [("png", "<u2"), ("png", ">u2"), ("tiff", "<u2"), ("tiff", ">u2"), ("jp2", "<u2")],
)
def test_16_bits_of_grey(tmp_path, suffix, dtype):
    values = eighths(65535, dtype)
    Image.fromarray(values).save(tmp_path / f"grey.{suffix}")
    assert_grey(read(tmp_path / f"grey.{suffix}"), values, 65535)


def png(width, depth, colour, pixels):
    """A picture of one row."""

    def chunk(name, content):
        return (
            struct.pack(">I", len(content))
            + name
            + content
            + struct.pack(">I", zlib.crc32(name + content))
        )

    header = struct.pack(">IIBBBBB", width, 1, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        (chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(b"\0" + pixels)), chunk(b"IEND", b""))
    )


@pytest.mark.parametrize("value", [0, 300, 30000, 65535])
def test_16_bits_of_colour_to_a_level(tmp_path, value):
    (tmp_path / "colour.png").write_bytes(png(1, 16, 2, np.full(3, value, ">u2").tobytes()))
    pixels = image_file.read(tmp_path / "colour.png", to_square(1))
    assert np.abs(pixels - 255 * value / 65535).max() < 1


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_few_bits_of_grey(tmp_path, depth):
    white = bytes([0b11111111])
    (tmp_path / "grey.png").write_bytes(png(1, depth, 0, white))
    assert (image_file.read(tmp_path / "grey.png", to_square(1)) == 255).all()


def tiff(path, values, **stated):
    tags = {"smallest": 340, "largest": 341}
    info = {tags[name]: value for name, value in stated.items()}
    Image.fromarray(values).save(path, tiffinfo=info)
    return path


@pytest.mark.parametrize("dtype", [np.int32, np.float32])
def test_a_range_that_the_file_states(tmp_path, dtype):
    values = eighths(70, dtype)
    path = tiff(tmp_path / "grey.tiff", values, smallest=0.0, largest=70.0)
    assert_grey(read(path), values, 70)
    below = tiff(tmp_path / "below.tiff", values - 35, smallest=-35.0, largest=35.0)
    np.testing.assert_array_equal(read(below), read(path))


@pytest.mark.parametrize("dtype", [np.int32, np.float32])
def test_a_range_that_no_one_states(tmp_path, dtype):
    assert "no stated range" in error_of(tiff(tmp_path / "grey.tiff", eighths(1, dtype)))


@pytest.mark.parametrize("value", [71, -1, np.nan])
def test_values_out_of_the_stated_range(tmp_path, value):
    values = eighths(70, np.float32)
    values[0, 0] = value
    path = tiff(tmp_path / "grey.tiff", values, smallest=0.0, largest=70.0)
    assert "stated range is 0 to 70" in error_of(path)


def test_floats_of_a_pfm(tmp_path):
    path = tmp_path / "grey.pfm"
    path.write_bytes(b"Pf\n4 4\n-1.0\n" + eighths(1, "<f4").tobytes())
    assert "floats of no stated range" in error_of(path)


@pytest.mark.parametrize("mode", ["L", "I;16"])
def test_tiff_whose_white_is_zero(tmp_path, mode):
    largest = {"L": 255, "I;16": 65535}[mode]
    values = eighths(largest, {"L": "u1", "I;16": "<u2"}[mode])
    Image.fromarray(values).save(tmp_path / "black_is_zero.tiff")
    content = (tmp_path / "black_is_zero.tiff").read_bytes()
    tag = struct.pack("<HHI", 262, 3, 1)
    assert content.count(tag + b"\1") == 1
    (tmp_path / "grey.tiff").write_bytes(content.replace(tag + b"\1", tag + b"\0"))
    assert_grey(read(tmp_path / "grey.tiff"), largest - values.astype(int), largest)


def uniform(path, mode, colour, **options):
    Image.new(mode, (6, 6), colour).save(path, **options)
    return read(path)[0, 0].tolist()


@pytest.mark.parametrize(
    ("mode", "colour", "expected"),
    [
        ("1", 1, [255, 255, 255]),
        ("1", 0, [0, 0, 0]),
        ("L", 77, [77, 77, 77]),
        ("LA", (77, 255), [77, 77, 77]),
        ("LA", (77, 0), [255, 255, 255]),
        ("RGBA", (10, 20, 30, 255), [10, 20, 30]),
        ("RGBA", (10, 20, 30, 0), [255, 255, 255]),
        ("RGBA", (0, 0, 0, 51), [204, 204, 204]),
    ],
)
def test_modes_and_transparency(tmp_path, mode, colour, expected):
    assert uniform(tmp_path / "image.png", mode, colour) == expected


@pytest.mark.parametrize("suffix", ["png", "gif", "bmp", "tiff"])
def test_palettes(tmp_path, suffix):
    image = Image.new("P", (6, 6), 1)
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.save(tmp_path / f"image.{suffix}")
    assert read(tmp_path / f"image.{suffix}")[0, 0].tolist() == [40, 50, 60]


@pytest.mark.parametrize(
    ("suffix", "transparency"), [("png", bytes([255, 0])), ("png", 1), ("gif", 1)]
)
def test_transparent_colours_of_a_palette(tmp_path, suffix, transparency):
    image = Image.new("P", (6, 6), 1)
    image.paste(0, (0, 0, 6, 3))
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.save(tmp_path / f"image.{suffix}", transparency=transparency)
    pixels = image_file.read(tmp_path / f"image.{suffix}", to_square(6))
    assert pixels[0, 0].tolist() == [10, 20, 30]
    assert pixels[5, 5].tolist() == [255, 255, 255]


@pytest.mark.parametrize("suffix", ["jpg", "tiff"])
def test_four_inks(tmp_path, suffix):
    path = tmp_path / f"image.{suffix}"
    assert max(uniform(path, "CMYK", (0, 0, 0, 255))) < 10
    red, green, blue = uniform(path, "CMYK", (0, 255, 255, 0))
    assert red > 245
    assert max(green, blue) < 10


# Orientation: which corner of the file's pixels is shown at the upper left.
CORNERS = {1: (0, 0), 2: (0, 1), 3: (1, 1), 4: (1, 0), 5: (0, 0), 6: (1, 0), 7: (1, 1), 8: (0, 1)}


@pytest.mark.parametrize("orientation", CORNERS)
@pytest.mark.parametrize("suffix", ["jpg", "png", "tiff", "webp"])
def test_turned_cameras(tmp_path, orientation, suffix):
    pixels = np.zeros((16, 16, 3), np.uint8)
    row, column = CORNERS[orientation]
    pixels[8 * row : 8 * row + 8, 8 * column : 8 * column + 8] = 250
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"image.{suffix}"
    Image.fromarray(pixels).save(path, exif=exif)
    found = image_file.read(path, to_square(16))[..., 0] > 125
    assert found[:7, :7].all()
    assert not found[9:].any()


def test_16_bits_of_a_turned_camera(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 3
    values = eighths(65535, "<u2")
    Image.fromarray(values).save(tmp_path / "grey.png", exif=exif)
    assert_grey(read(tmp_path / "grey.png"), values[::-1, ::-1], 65535)


def test_the_first_frame_of_an_animation(tmp_path):
    frames = [Image.new("RGB", (6, 6), colour) for colour in ((200, 0, 0), (0, 200, 0))]
    frames[0].save(tmp_path / "image.gif", save_all=True, append_images=frames[1:])
    assert read(tmp_path / "image.gif")[0, 0].tolist() == [200, 0, 0]


def test_every_format_that_the_installed_pillow_writes_and_reads():
    suffixes = image_file.suffixes()
    assert {".jpg", ".jpeg", ".jfif", ".jpe", ".png", ".gif", ".bmp", ".tif", ".webp"} <= suffixes
    assert not {".h5", ".mpg", ".pdf", ".txt", ""} & suffixes


def test_nothing_in_it(tmp_path):
    (tmp_path / "image.png").touch()
    assert error_of(tmp_path / "image.png") == "it is empty"


def test_a_text_in_place_of_an_image(tmp_path):
    (tmp_path / "image.png").write_text("not an image\n")
    assert error_of(tmp_path / "image.png").startswith("it is no image")


CUT_OFF = [(s, k) for s in ("jpg", "png", "gif", "tiff", "webp", "bmp", "ppm") for k in (0.05, 0.9)]


@pytest.mark.parametrize(("suffix", "keep"), [*CUT_OFF, ("jp2", 0.05)])
def test_cut_off(tmp_path, suffix, keep):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    path = tmp_path / f"image.{suffix}"
    Image.fromarray(noise).save(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(keep * len(whole))])
    assert " " in error_of(path)


def test_a_bomb(tmp_path, monkeypatch):
    Image.new("1", (100, 100)).save(tmp_path / "image.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    assert "more than 2,000 pixels" in error_of(tmp_path / "image.png")


def test_what_is_no_file(tmp_path, monkeypatch):
    assert error_of(tmp_path) == "Is a directory"
    assert error_of(tmp_path / "nowhere.png") == "No such file or directory"
    monkeypatch.setattr(Image, "open", lambda _: (_ for _ in ()).throw(PermissionError(13, "Nope")))
    Image.new("L", (4, 4)).save(tmp_path / "image.png")
    assert error_of(tmp_path / "image.png") == "Nope"
