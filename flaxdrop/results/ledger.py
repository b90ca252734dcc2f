"""The ledger: an append-only JSONL file of finished cells, the source of every table and plot.

One line of strict JSON a cell (`flaxdrop.results.row`), written once and never changed.
"""

import contextlib
import errno
import fcntl
import os
from collections.abc import Iterator

from flaxdrop.results.row import NewerSchemaError, Row
from flaxdrop.training.content import Content


def append(path: str | os.PathLike[str], row: Row) -> None:
    """Adds `row` to the ledger at `path`, which is made if missing: all of it, or nothing.

    One write under an exclusive lock, then fsync: safe from several processes at a time. A line
    cut off earlier (a kill, a full disk) is ended first, so that it cannot swallow this row.

    Raises:
      OSError: the row could not be written (a full disk); the file is as it was before.
    """
    line = row.to_json().encode() + b"\n"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        except OSError as error:  # on a network's file system that has no locks
            raise OSError(
                error.errno,
                f"{error.strerror}, and without a lock {row.variant} with seed {row.seed} is not"
                " written; choose a folder on a local disk",
                os.fspath(path),
            ) from None
        size = os.fstat(descriptor).st_size
        if size and os.pread(descriptor, 1, size - 1) != b"\n":
            line = b"\n" + line
        try:
            if os.write(descriptor, line) < len(line):
                # A regular file takes less than it is given only when there is no more room.
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(descriptor)
        except OSError as error:
            with contextlib.suppress(OSError):
                os.ftruncate(descriptor, size)
            raise OSError(
                error.errno,
                f"{error.strerror}: {row.variant} with seed {row.seed} is not in the ledger; "
                "make room and run the same command again",
                os.fspath(path),
            ) from None
    finally:
        os.close(descriptor)


def read(path: str | os.PathLike[str]) -> tuple[list[Row], list[str]]:
    """The rows of the ledger at `path` in their order, and a warning for each line left out.

    Left out are lines that are cut off or corrupt, and a later row of the same content, variant
    and seed. No file: no rows.

    Raises:
      NewerSchemaError: a row that a newer flaxdrop wrote.
    """
    rows: dict[tuple[Content, str, int], Row] = {}
    warnings: list[str] = []
    for number, line in enumerate(_lines(path), start=1):
        if not line.strip():
            continue
        where = f"{os.fspath(path)} line {number}"
        try:
            row = Row.from_json(line.decode())
        except NewerSchemaError as error:
            raise NewerSchemaError(f"{where}: {error}") from None
        except ValueError as error:
            warnings.append(f"{where}: left out, {error}")
            continue
        first = rows.setdefault((row.content, row.variant, row.seed), row)
        if first is not row:
            warnings.append(
                f"{where}: left out, {row.variant} with seed {row.seed} is already in an "
                "earlier line"
            )
    return list(rows.values()), warnings


def _lines(path: str | os.PathLike[str]) -> Iterator[bytes]:
    """The lines of a file that need not be there, one at a time."""
    with contextlib.suppress(FileNotFoundError), open(path, "rb") as file:
        yield from file
