"""Photos: cropped, turned, coloured and mirrored at random in training; their centre in a test.

Kim et al. 2023, for Pets and Caltech-101: a crop of 80 to 100 % of the area, brought to 256 x 256
pixels, turned by up to 15 degrees, colours by up to 0.4, mirrored, and of that the centre of 224 x
224. In a test the shorter side is brought to 256. Inferred: the crop's ratio of 3/4 to 4/3, and
that of the colours brightness, contrast and saturation change, in that order.
"""

import math

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

_AREA = (0.8, 1.0)
_RATIO = (3 / 4, 4 / 3)
_DEGREES = 15.0
_COLOUR = 0.4
_TRIES = 10  # to find a crop that lies in the image
_ENHANCERS = (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color)


def larger(side: int) -> int:
    """The side of the image of which the centre is kept: 256 for 224.

    >>> larger(224)
    256
    """
    return round(side * 256 / 224)


def augment(image: Image.Image, side: int, random: np.random.RandomState) -> Image.Image:
    """One view of a photo for training.

    Args:
      image: RGB.
      side: of the result, in pixels.
      random: what it is drawn from; always as many numbers, whatever the image.
    """
    draws = random.random_sample((_TRIES, 4))
    degrees, *colours = random.uniform(-1, 1, 4)
    is_mirrored = random.random_sample() < 0.5
    wide = larger(side)
    view = image.resize((wide, wide), Image.Resampling.BILINEAR, box=crop(image.size, draws))
    view = view.rotate(_DEGREES * degrees, Image.Resampling.NEAREST)
    for enhancer, change in zip(_ENHANCERS, colours, strict=True):
        view = enhancer(view).enhance(1 + _COLOUR * change)
    return _middle(ImageOps.mirror(view) if is_mirrored else view, side)


def centre(image: Image.Image, side: int) -> Image.Image:
    """A photo in a test: the shorter side brought to `larger(side)`, the centre kept."""
    factor = larger(side) / min(image.size)
    width, height = (max(side, round(factor * length)) for length in image.size)
    return _middle(image.resize((width, height), Image.Resampling.BILINEAR), side)


def crop(size: tuple[int, int], draws: np.ndarray) -> tuple[float, float, float, float]:
    """A part of an image, of a random area, ratio and place.

    Args:
      size: (width, height).
      draws: in [0, 1), [tries, 4]: area, ratio, left and top of each try.

    Returns:
      (left, top, right, bottom); where no try lies in the image, the largest part in its middle
      whose ratio is allowed.
    """
    width, height = size
    low, high = map(math.log, _RATIO)
    for area, ratio, left, top in draws:
        wanted = width * height * (_AREA[0] + (_AREA[1] - _AREA[0]) * area)
        shape = math.exp(low + (high - low) * ratio)
        own_width, own_height = round(math.sqrt(wanted * shape)), round(math.sqrt(wanted / shape))
        if 0 < own_width <= width and 0 < own_height <= height:
            x, y = int(left * (width - own_width + 1)), int(top * (height - own_height + 1))
            return x, y, x + own_width, y + own_height
    own_width = min(width, round(height * _RATIO[1]))
    own_height = min(height, round(width / _RATIO[0]))
    x, y = (width - own_width) // 2, (height - own_height) // 2
    return x, y, x + own_width, y + own_height


def _middle(image: Image.Image, side: int) -> Image.Image:
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return image.crop((left, top, left + side, top + side))
