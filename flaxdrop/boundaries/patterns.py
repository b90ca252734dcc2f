"""Names of places, and patterns that name many: `Block_*/Conv_1:in`."""

import difflib
import functools
import re
from collections.abc import Callable, Iterable

_NEAR = 5  # names that a message lists


@functools.cache
def matcher(pattern: str) -> Callable[[str], bool]:
    """Makes a test for the names that a pattern names.

    Args:
      pattern: `*` stands for any letters of one module's name, `?` for one, `[02]` for one of
        these, `[8-12]` for a number between these, `**` for any path.

    >>> [name for name in ("Block_0/Conv_1:in", "Block_12/Conv_1:in", "Stage_0/Block_0/Conv_1:in")
    ...  if matcher("Block_*/Conv_1:in")(name)]
    ['Block_0/Conv_1:in', 'Block_12/Conv_1:in']
    >>> matcher("**/Conv_1:in")("Stage_0/Block_0/Conv_1:in")
    True
    """
    parts = re.split(r"(\*\*/|\*\*|\*|\?|\[[^\]]+\])", pattern)
    words = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    text = "".join(words.get(part) or _literal(part) for part in parts)
    compiled = re.compile(text)
    return lambda name: compiled.fullmatch(name) is not None


def _literal(part: str) -> str:
    if span := re.fullmatch(r"\[(\d+)-(\d+)\]", part):
        return "(?:" + "|".join(map(str, range(int(span[1]), int(span[2]) + 1))) + ")"
    if part.startswith("[") and part.endswith("]"):
        inner = part[1:-1].replace("\\", r"\\")
        return f"[^{inner[1:]}]" if inner.startswith("!") else f"[{inner}]"
    return re.escape(part)


def near_names(pattern: str, names: Iterable[str]) -> list[str]:
    """The names that are most like a pattern that names none of them, the nearest first.

    >>> near_names("Block_*/Convv_1:in", ["Block_*/Conv_1:in", "head:out"])
    ['Block_*/Conv_1:in']
    """
    return difflib.get_close_matches(pattern, list(names), _NEAR, cutoff=0.5)
