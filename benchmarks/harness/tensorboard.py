"""Curves for TensorBoard: a folder for each cell, written while it trains."""

import importlib
import importlib.util
import pathlib
import struct
import time
from typing import Any

import numpy as np

from flaxdrop.training.steps import METRICS


def check_tensorboard() -> None:
    """Asks for the package before anything is trained.

    Raises:
      ValueError: tensorboardX is not installed.
    """
    if importlib.util.find_spec("tensorboardX") is None:
        raise ValueError(
            'tensorboardX: must be installed for --tensorboard; pip install ".[tensorboard]"'
        )


class CurveWriter:
    """Writes the curves of cells, a line an epoch; the epochs are the steps.

    Args:
      folder: with a folder in it for each cell.
    """

    def __init__(self, folder: pathlib.Path) -> None:
        self._folder = folder
        self._files: dict[str, pathlib.Path] = {}

    def __call__(self, cell: str, epoch: int, values: np.ndarray) -> None:
        """Adds an epoch.

        Args:
          cell: its name.
          epoch: the one that ended, from 1. What another process wrote of it and later ones, before
            it was stopped, is replaced.
          values: in the order of `METRICS`.
        """
        event: Any = importlib.import_module("tensorboardX.proto.event_pb2")
        summary: Any = importlib.import_module("tensorboardX.proto.summary_pb2")
        events = []
        if cell not in self._files:
            name = f"events.out.tfevents.{time.time_ns()}"
            self._files[cell] = self._folder / cell / name
            self._files[cell].parent.mkdir(parents=True, exist_ok=True)
            start = event.SessionLog(status=event.SessionLog.START)
            events = [event.Event(file_version="brain.Event:2"), event.Event(session_log=start)]
        metrics = [
            summary.Summary.Value(tag=name, simple_value=float(value))
            for name, value in zip(METRICS, values, strict=True)
        ]
        events.append(event.Event(summary=summary.Summary(value=metrics)))
        # Not by `SummaryWriter`: it has a thread for each cell, and its flush does not wait.
        with self._files[cell].open("ab") as file:
            for each in events:
                each.step, each.wall_time = epoch, time.time()
                file.write(_record(each.SerializeToString()))


def _record(content: bytes) -> bytes:
    """A record of a file of events: length, content, and a checksum behind each."""
    checksum = importlib.import_module("tensorboardX.record_writer").masked_crc32c
    length = struct.pack("<Q", len(content))
    sums = (struct.pack("<I", checksum(part)) for part in (length, content))
    return length + next(sums) + content + next(sums)
