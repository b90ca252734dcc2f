"""Text that is measured, and broken into lines."""

import functools
from collections.abc import Iterable

from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path

_HINTING = 1.03  # how much wider drawn text may be than its outlines


@functools.cache
def text_width(text: str, size: float, weight: str = "normal") -> float:
    """Width of a line of text, inches."""
    properties = FontProperties(size=size, weight=weight)
    width, _, _ = text_to_path.get_text_width_height_descent(text, properties, ismath=False)
    return _HINTING * float(width) / 72


def wrap(text: str, width: float, size: float, weight: str = "normal") -> list[str]:
    """Breaks a text into lines of a width in inches; a word that is longer is broken, too.

    >>> wrap("a b", 100, 10), wrap("", 100, 10)
    (['a b'], [])
    """
    lines: list[str] = []
    for word in _short_words(text.split(), width, size, weight):
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and text_width(longer, size, weight) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


def balance(text: str, width: float, size: float) -> list[str]:
    """As `wrap`, into as many lines, but of about one length.

    >>> balance("one two three four", 1.1, 10), wrap("one two three four", 1.1, 10)
    (['one two', 'three four'], ['one two three', 'four'])
    """
    lines = wrap(text, width, size)
    for narrower in (width * share / 20 for share in range(19, 8, -1)):
        tried = wrap(text, narrower, size)
        if len(tried) > len(lines):
            break
        lines = tried
    return lines


def _short_words(words: Iterable[str], width: float, size: float, weight: str) -> Iterable[str]:
    for word in words:
        start = 0
        for end in range(1, len(word) + 1):
            if end - start > 1 and text_width(word[start:end], size, weight) > width:
                yield word[start : end - 1]
                start = end - 1
        yield word[start:]
