"""Values of a row made plain: scalars of NumPy and JAX, tuples, what is not finite."""

import json
import math
import operator
from typing import Any

CURVES = ("train_loss", "train_accuracy", "test_accuracy", "test_nll", "test_ece")


def plain(name: str, kind: Any, value: Any) -> Any:
    """The value of a field as Python has it in plain JSON.

    Args:
      name: of the field.
      kind: its type.
      value: as it was given.

    Raises:
      ValueError: it is of another type.
    """
    if name == "config":
        return _plain_config(value)
    if name == "curve":
        return _plain_curve(value)
    if name == "right":
        if not isinstance(value, list) or not all(isinstance(line, str) for line in value):
            raise ValueError(f"right: a {type(value).__name__}, must be a list of texts")
        return value
    if name == "measured":
        if not isinstance(value, dict):
            raise ValueError(f"measured: a {type(value).__name__}, must be a dict")
        return {key: _plain_float(f"measured {key}", number) for key, number in value.items()}
    if name == "versions":
        if not isinstance(value, dict) or not all(isinstance(v, str) for v in value.values()):
            raise ValueError(f"versions: {value!r}, must map names to version strings")
        return value
    if kind is float:
        return _plain_float(name, value)
    if kind is str:
        if not isinstance(value, str):
            raise ValueError(f"{name}: {value!r}, must be a string")
        return value
    if value is None and kind == int | None:
        return None
    try:
        if not isinstance(value, bool):
            return operator.index(value)
    except TypeError:
        pass
    raise ValueError(f"{name}: {value!r}, must be an integer")


def _plain_float(name: str, value: Any) -> float:
    # Nearly all: a ledger of a hundred thousand rows has ten million of them.
    if type(value) is float and -math.inf < value < math.inf:
        return value
    # math.nan itself, always: NaNs that are one object compare equal inside rows and lists.
    if value is None:
        return math.nan
    try:
        if not isinstance(value, (str, bool)):
            number = float(value)
            return number if math.isfinite(number) else math.nan
    except TypeError:
        pass
    raise ValueError(f"{name}: {value!r}, must be a number")


def _plain_floats(name: str, values: Any) -> list[float]:
    if (
        type(values) is list
        and all(type(v) is float for v in values)
        and math.isfinite(sum(values))
    ):
        return list(values)
    return [_plain_float(name, value) for value in values]


def _plain_config(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"config: a {type(value).__name__}, must be a dict")
    try:
        plain: dict[str, Any] = json.loads(json.dumps(value, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise ValueError(f"config: {error}, must be plain JSON") from None
    return plain


def _plain_curve(value: Any) -> dict[str, list[float]]:
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
