"""One image file as an array of RGB pixels, as a viewer would show it."""

import pathlib
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

# Pillow knows their names, and reads them only with a program of the user's.
_WITHOUT_DECODER = frozenset(("BUFR", "GRIB", "HDF5", "MPEG", "WMF"))
_MODES_OF_MANY_BITS = ("I", "I;16", "I;16B", "I;16L", "I;16N", "F")
_16_BITS = 2**16 - 1

# Tags of TIFF.
_BITS_PER_SAMPLE, _PHOTOMETRIC, _SMALLEST, _LARGEST = 258, 262, 340, 341
_WHITE_IS_ZERO = 0


def suffixes() -> frozenset[str]:
    """The endings of the files that the installed Pillow reads, in lower case, with their dot."""
    names = Image.registered_extensions()  # imports all plugins, so it comes before Image.OPEN
    readable = Image.OPEN.keys() - _WITHOUT_DECODER
    return frozenset(suffix for suffix, name in names.items() if name in readable)


def read(
    path: pathlib.Path, shape: Callable[[Image.Image], Image.Image] | None = None
) -> np.ndarray:
    """Decodes an image: upright, on white where it is transparent, its first frame.

    A grey value v of a file whose largest is m becomes round(255 * v / m). Of colours of 16 bits
    Pillow keeps the upper 8.

    Args:
      path: the file.
      shape: brings the image, in RGB, to its size; None: it stays as it is.

    Returns:
      uint8 [H, W, 3].

    Raises:
      ValueError: why it cannot be read, in words, without the file's name.
    """
    try:
        if path.stat().st_size == 0:
            raise ValueError("it is empty")
        with Image.open(path) as image:
            pixels = _rgb(image)
            return np.asarray(pixels if shape is None else shape(pixels))
    except UnidentifiedImageError:
        raise ValueError("it is no image, or one that is damaged at its beginning") from None
    except Image.DecompressionBombError:
        most = 2 * (Image.MAX_IMAGE_PIXELS or 0)
        raise ValueError(f"it has more than {most:,} pixels, make it smaller") from None
    except OSError as error:
        raise ValueError(error.strerror or _words(error)) from None
    except Exception as error:  # what Pillow raises on damaged bytes is open-ended
        raise ValueError(_words(error)) from error


def _words(error: Exception) -> str:
    text = " ".join(str(error).split())
    # A text without a space is a key or a number that no reader understands.
    return text if " " in text else "it is damaged"


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode in _MODES_OF_MANY_BITS:
        values = _range(image)  # first: a turned image has lost its format and tags
        return _scaled(ImageOps.exif_transpose(image), *values).convert("RGB")
    upright = ImageOps.exif_transpose(image)
    if upright.has_transparency_data:
        paper = Image.new("RGBA", upright.size, "white")
        return Image.alpha_composite(paper, upright.convert("RGBA")).convert("RGB")
    return upright.convert("RGB")


def _range(image: Image.Image) -> tuple[float, float]:
    """The values of black and of white, as far as the file's format states them."""
    tags = getattr(image, "tag_v2", {})
    if image.format in ("PNG", "JPEG2000") or (image.format == "PPM" and image.mode == "I"):
        return 0, _16_BITS  # Pillow has brought it there, whatever the file's largest value
    if image.format == "TIFF" and image.mode.startswith("I;16"):
        black, white = 0.0, 2.0 ** tags[_BITS_PER_SAMPLE][0] - 1
    elif {_SMALLEST, _LARGEST} <= tags.keys():
        black, white = _number(tags[_SMALLEST]), _number(tags[_LARGEST])
    else:
        kind = "floats" if image.mode == "F" else "integers"
        raise ValueError(
            f"its pixels are {kind} of no stated range, so that black and white are not known;"
            " save it with 8 or 16 bits without sign"
        )
    return (white, black) if tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO else (black, white)


def _number(value: float | tuple[float, ...]) -> float:
    return float(value[0] if isinstance(value, tuple) else value)


def _scaled(image: Image.Image, black: float, white: float) -> Image.Image:
    values = np.asarray(image).astype(np.float64)
    smallest, largest = min(black, white), max(black, white)
    # Not the other way round: NaN is outside, too.
    if not (smallest < largest and smallest <= values.min() and values.max() <= largest):
        raise ValueError(
            f"its pixels are from {values.min():g} to {values.max():g},"
            f" its stated range is {smallest:g} to {largest:g}"
        )
    grey = np.floor(255 * (values - black) / (white - black) + 0.5)
    return Image.fromarray(grey.astype(np.uint8))
