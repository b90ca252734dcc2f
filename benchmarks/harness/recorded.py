"""The rows of a run, read from its folder without its study."""

import pathlib

from benchmarks.harness.arguments import warn
from flaxdrop.results import ledger


def recorded_rows(path: str) -> list[ledger.Row]:
    """The cells of a run. What cannot be read is told on stderr.

    Args:
      path: its work folder, or a ledger.

    Raises:
      ValueError: there is none, or it holds no cell.
      OSError: it cannot be read.
    """
    file = pathlib.Path(path)
    file = file / "ledger.jsonl" if file.is_dir() else file
    if not file.is_file():
        raise ValueError(f"run: must be a work folder or a ledger, got {path}")
    rows, warnings = ledger.read(file)
    warn(warnings)
    if not rows:
        raise ValueError(f"run: {path} has no cell that can be read")
    return rows
