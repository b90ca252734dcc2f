"""The shift of the batch norms of a network: of each norm, by channel, and of all together."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from flaxdrop.analysis.paths import Path, name_of
from flaxdrop.table import Table

_SMALLEST = 1e-12  # of a norm that adds nothing to the variance itself


@dataclasses.dataclass(frozen=True)
class NormShift:
    """The shift of one batch norm, by channel.

    Attributes:
      norm: path of the module; "[i]" is the i-th turn of a scan.
      ratio: [C], (variance at inference + eps) / (variance in training + eps), with the norm's own
        epsilon: the variance that its output has at inference in the place of 1. Of a channel that
        is constant in both, 1.
      mean_shift: [C], (mean at inference - mean in training) / standard deviation in training.
      error: standard error of the logarithm of `geometric_mean`, over the masks.
      renormalises: whether it keeps no running statistics, and so divides by the variance that is
        there at inference, too.
    """

    norm: str
    ratio: np.ndarray = dataclasses.field(repr=False)
    mean_shift: np.ndarray = dataclasses.field(repr=False)
    error: float
    renormalises: bool = False

    @property
    def geometric_mean(self) -> float:
        """Geometric mean of the ratio over the channels."""
        return float(np.exp(np.mean(np.log(self.ratio))))

    @property
    def worst(self) -> float:
        """The ratio of the channel that is shifted most."""
        return float(self.ratio[np.argmax(np.abs(np.log(self.ratio)))])

    @property
    def abs_log_ratio(self) -> float:
        """Absolute value of log `geometric_mean`: 0 is no shift."""
        return abs(float(np.log(self.geometric_mean)))

    @property
    def rms_mean_shift(self) -> float:
        """Root mean square of the mean's shift over the channels."""
        return float(np.sqrt(np.mean(self.mean_shift**2)))


@dataclasses.dataclass(frozen=True)
class Shift:
    """The shifts of all batch norms of a network.

    Attributes:
      norms: in the order in which the network calls them.
      dropout_layers: those that were on, slots or module paths.
      examples: in the batch.
      masks: how many were averaged over.
    """

    norms: tuple[NormShift, ...]
    dropout_layers: tuple[str, ...]
    examples: int
    masks: int

    @property
    def harmed(self) -> tuple[NormShift, ...]:
        """The norms with running statistics; all norms of a network that has none of these."""
        return tuple(norm for norm in self.norms if not norm.renormalises) or self.norms

    @property
    def mean_abs_log_ratio(self) -> float:
        """Mean absolute log ratio of the norms with running statistics, or of all; 0: no shift."""
        return float(np.mean([norm.abs_log_ratio for norm in self.harmed]))

    @property
    def worst_first(self) -> tuple[NormShift, ...]:
        """The norms, the most shifted first."""
        return tuple(sorted(self.norms, key=lambda norm: norm.abs_log_ratio, reverse=True))

    def table(self, rows: int = 20) -> Table:
        """The most shifted norms, worst first.

        Args:
          rows: at most so many.
        """
        depth = {norm.norm: f"{i + 1}" for i, norm in enumerate(self.norms)}
        cells = [
            (
                norm.norm,
                depth[norm.norm],
                f"{norm.geometric_mean:.3f}",
                f"{norm.worst:.3g}",
                f"{norm.rms_mean_shift:.3f}",
                f"{norm.error:.3f}",
            )
            for norm in self.worst_first[:rows]
        ]
        notes = [
            "Ratio: variance of the norm's input at inference / in training, geometric mean over"
            " channels; 1 is no shift. Mean: its shift in standard deviations, root mean square."
            " Error: of the ratio, relative.",
            f"Dropout on: {', '.join(self.dropout_layers) or 'none'}. {self.examples} examples,"
            f" {self.masks} masks. Shift of the network, mean |log ratio|:"
            f" {self.mean_abs_log_ratio:.3f}.",
        ]
        if any(norm.renormalises for norm in self.norms):
            notes.append(
                "Norms without running statistics (as LayerNorm) see another variance, too, but"
                " they normalise it again at inference."
            )
        if len(self.norms) > rows:
            notes.insert(0, f"The {rows} most shifted of {len(self.norms)} norms.")
        columns = ("norm", "depth", "ratio", "worst channel", "mean", "error")
        return Table(columns, tuple(cells), tuple(notes))

    def __str__(self) -> str:
        return self.table().text()


def shifts_of(
    path: Path, trained: Sequence[Any], inferred: Any, renormalises: bool = False
) -> list[NormShift]:
    """Computes the shift of one norm: one for each turn of the scans around it, or one.

    Args:
      path: of the norm.
      trained: its moments in training, from `Caller.measure`, for each mask.
      inferred: its moments at inference.
      renormalises: whether it keeps no running statistics.

    Raises:
      ValueError: it is not finite.
    """
    scans = [axis for axis, length in enumerate(inferred["epsilon"].shape) if length > 1]
    turns = tuple(inferred["epsilon"].shape[axis] for axis in scans)
    every = [moments[what] for moments in (*trained, inferred) for what in ("mean", "var")]
    if not all(np.isfinite(values).all() for values in every):
        raise ValueError(
            f"norm {name_of(path)}: its input must be finite; look at the batch, the variables, and"
            " for a rate of 1"
        )

    def flat(moments: Any, what: str) -> np.ndarray:  # [turns, channels]
        front = np.moveaxis(np.asarray(moments[what], np.float64), scans, range(len(scans)))
        return front.reshape(math.prod(turns), -1)

    epsilon = np.maximum(flat(inferred, "epsilon"), _SMALLEST)
    variances = np.stack([flat(moments, "var") for moments in trained]) + epsilon
    means = np.mean([flat(moments, "mean") for moments in trained], axis=0)
    variance = np.mean(variances, axis=0)
    ratio = (flat(inferred, "var") + epsilon) / variance
    mean_shift = (flat(inferred, "mean") - means) / np.sqrt(variance)
    sizes = np.mean(np.log(variances), axis=-1)
    spread = np.full(len(variance), np.nan)  # one mask does not tell it
    if len(trained) > 1:
        spread = np.std(sizes, axis=0, ddof=1) / len(trained) ** 0.5
    labels = [f"[{','.join(map(str, i))}]" if i else "" for i in np.ndindex(*turns)]
    return [
        NormShift(name_of(path) + label, ratio[i], mean_shift[i], float(spread[i]), renormalises)
        for i, label in enumerate(labels)
    ]


def in_order(shifts: Mapping[Path, list[NormShift]]) -> tuple[NormShift, ...]:
    """Puts all shifts in the order of depth, from those of each path in the order of the calls.

    Norms of one scan take turns.
    """
    groups: list[tuple[tuple[Any, ...], list[list[NormShift]]]] = []
    for path, turns in shifts.items():
        scan = (path[:1], len(turns))
        if len(turns) > 1 and groups and groups[-1][0] == scan:
            groups[-1][1].append(turns)
        else:
            groups.append((scan, [turns]))
    return tuple(
        shift for _, members in groups for turn in zip(*members, strict=True) for shift in turn
    )
