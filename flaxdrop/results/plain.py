"""Values of a row made plain: scalars of NumPy and JAX, tuples, what is not finite."""

import functools
import json
import marshal
import math
import operator
import sys
from array import array
from collections.abc import Callable
from typing import Any

CURVES = ("train_loss", "train_accuracy", "test_accuracy", "test_nll", "test_ece")

_ENCODER = json.JSONEncoder(allow_nan=False)


def plain(name: str, kind: Any) -> Callable[[Any], Any]:
    """What makes the values of a field as Python has them in plain JSON.

    Texts, configs and versions that are equal become one object: a ledger has very many.

    Args:
      name: of the field.
      kind: its type.

    Returns:
      A function of a value. It raises a ValueError where the value is of another type.
    """
    whole = {
        "config": _plain_config,
        "curve": _plain_curve,
        "measured": _plain_measured,
        "right": _plain_right,
        "versions": _plain_versions,
    }
    scalars = {float: _plain_float, str: _plain_text, int: _plain_integer}
    return whole.get(name) or functools.partial(scalars.get(kind, _plain_optional), name)


def _plain_text(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{name}: {value!r}, must be a string")
    return sys.intern(str(value))  # of a subclass, too


def _plain_optional(name: str, value: Any) -> int | None:
    return None if value is None else _plain_integer(name, value)


def _plain_integer(name: str, value: Any) -> int:
    try:
        if not isinstance(value, bool):
            return operator.index(value)
    except TypeError:
        pass
    raise ValueError(f"{name}: {value!r:.40}, must be an integer")


def _plain_float(name: str, value: Any) -> float:
    # Nearly all: a ledger of a hundred thousand rows has millions of them.
    if type(value) is float and -math.inf < value < math.inf:
        return value
    if value is None:
        return math.nan
    try:
        if not isinstance(value, (str, bool)):
            number = float(value)
            return number if math.isfinite(number) else math.nan
    except (TypeError, OverflowError):
        pass
    raise ValueError(f"{name}: {value!r:.40}, must be a number")


def _plain_floats(name: str, values: Any) -> "array[float]":
    if type(values) is list and {float}.issuperset(map(type, values)):
        numbers = array("d", values)
        if math.isfinite(sum(numbers)):
            return numbers
    return array("d", [_plain_float(name, value) for value in values])


def _plain_config(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"config: a {type(value).__name__}, must be a dict")
    try:
        return _shared(value)
    except (TypeError, ValueError) as error:
        raise ValueError(f"config: {error}, must be plain JSON") from None


def _plain_curve(value: Any) -> dict[str, "array[float]"]:
    if not isinstance(value, dict) or value.keys() != set(CURVES):
        raise ValueError(f"curve: must be a dict of {', '.join(CURVES)}")
    try:
        curve = {name: _plain_floats(name, value[name]) for name in CURVES}
    except TypeError:
        raise ValueError("curve: must be lists, one entry an epoch") from None
    if len({len(entries) for entries in curve.values()}) != 1:
        lengths = ", ".join(f"{name} {len(entries)}" for name, entries in curve.items())
        raise ValueError(f"curve: lengths differ ({lengths}), must be one entry an epoch")
    return curve


def _plain_measured(value: Any) -> dict[str, float]:
    if not isinstance(value, dict):
        raise ValueError(f"measured: a {type(value).__name__}, must be a dict")
    return {name: _plain_float(f"measured {name}", number) for name, number in value.items()}


def _plain_right(value: Any) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(line, str) for line in value):
        raise ValueError(f"right: a {type(value).__name__}, must be a list of texts")
    return value


def _plain_versions(value: Any) -> dict[str, str]:
    if not isinstance(value, dict) or not all(isinstance(v, str) for v in value.values()):
        raise ValueError(f"versions: {value!r}, must map names to version strings")
    return _shared(value)


def _shared(value: dict[str, Any]) -> dict[str, Any]:
    """What JSON keeps of an object: one for all rows that have it."""
    try:
        # Without the references of later formats, equal objects have equal bytes.
        return _unpacked(marshal.dumps(value, 2))
    except ValueError:  # numbers of NumPy, say
        return _as_json(value)


@functools.lru_cache(maxsize=1000)
def _unpacked(packed: bytes) -> dict[str, Any]:
    return _as_json(marshal.loads(packed))


def _as_json(value: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(_ENCODER.encode(value))
    return found
