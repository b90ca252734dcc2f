"""What the fields of a row must be, each by itself and one beside the other."""

import math
import re
from typing import TYPE_CHECKING

from flaxdrop.results.right import unpack_right

if TYPE_CHECKING:
    from flaxdrop.results.row import Row

_STATUSES = ("finished", "diverged")
_LARGEST_COUNT = 2**63 - 1
# Field -> its largest value; the smallest is 0.
_LARGEST = {
    **dict.fromkeys(
        ("seed", "parameters", "numerics", "train_examples", "test_examples"), _LARGEST_COUNT
    ),
    **dict.fromkeys(("wall_seconds", "compile_seconds", "images_per_second"), math.inf),
    "chance": 1,
}
# Accuracies and calibration errors are rounded to single precision.
_LARGEST_IN_CURVE = {
    **dict.fromkeys(("train_loss", "test_nll"), math.inf),
    **dict.fromkeys(("train_accuracy", "test_accuracy", "test_ece"), 1 + 1e-6),
}


def check(row: "Row") -> None:
    """Whether a row can be that of a cell.

    Args:
      row: its values are plain.

    Raises:
      ValueError: a value is out of its range, or contradicts another one.
    """
    if row.status not in _STATUSES:
        raise ValueError(f"status: {row.status!r}, must be one of {', '.join(_STATUSES)}")
    finished = row.status == "finished"
    for name in ("best_accuracy", "last_accuracy"):
        accuracy = getattr(row, name)
        if not (0 <= accuracy <= 1 or (math.isnan(accuracy) and not finished)):
            raise ValueError(f"{name}: {accuracy}, must be a fraction in [0, 1]")
    _check_ranges(row)
    epochs = len(row.curve["test_accuracy"])
    known = range(1, epochs + 1) if finished else (None, *range(1, epochs + 1))
    if row.best_epoch not in known:
        raise ValueError(f"best_epoch: {row.best_epoch}, must be one of the {epochs} epochs")
    if not re.fullmatch(r"[0-9a-f]{64}", row.digest):
        raise ValueError(f"digest: must be 64 hex digits, got {row.digest!r}")
    if finished:
        _check_curve(row)
    _check_right(row)


def _check_ranges(row: "Row") -> None:
    """Counts, times and the numbers of the curve; NaN is not known."""
    for name, most in _LARGEST.items():
        value = getattr(row, name)
        if not (0 <= value <= most or value != value):  # an integer may be too large for isnan
            raise ValueError(f"{name}: {value}, must be in [0, {most}]")
    for name, most in _LARGEST_IN_CURVE.items():
        values = row.curve[name]
        # Nearly all, and soon known; a NaN is neither the least nor the largest unless it is first.
        if values and min(values) >= 0 and max(values) <= most:
            continue
        for value in values:
            if not (0 <= value <= most or math.isnan(value)):
                raise ValueError(f"curve, {name}: {value}, must be in [0, {most}]")


def _check_curve(row: "Row") -> None:
    """The numbers of a finished cell are those of its curve."""
    accuracies = row.curve["test_accuracy"]
    assert row.best_epoch is not None
    for name, right in (
        ("last_accuracy", accuracies[-1]),
        ("best_accuracy", max(accuracies)),
        ("last_nll", row.curve["test_nll"][-1]),
        ("last_ece", row.curve["test_ece"][-1]),
    ):
        value = getattr(row, name)
        if not (math.isclose(value, right, abs_tol=1e-9) or math.isnan(value + right)):
            raise ValueError(f"{name}: must be {right}, as in the curve, got {value}")
    if accuracies[row.best_epoch - 1] != max(accuracies):
        best = accuracies.index(max(accuracies)) + 1
        raise ValueError(f"best_epoch: must be {best}, as in the curve, got {row.best_epoch}")


def _check_right(row: "Row") -> None:
    """The accuracies are those of the examples that were right."""
    if not row.right:
        return
    judged = row.curve["test_accuracy"][len(row.curve["test_accuracy"]) - len(row.right) :]
    if len(judged) < len(row.right):
        raise ValueError(f"right: {len(row.right)} epochs, must be at most {len(judged)}")
    for accuracy, line in zip(judged, row.right, strict=True):
        # The bits after the last example are 0.
        right = int.from_bytes(unpack_right(line, row.test_examples)).bit_count()
        if not math.isclose(accuracy, right / row.test_examples, abs_tol=1e-6):
            raise ValueError(f"right: {right} of {row.test_examples} examples, must be {accuracy}")
