"""The ledger: an append-only JSONL file of finished cells, the source of every table and plot.

One line of strict JSON a cell (`flaxdrop.results.row`), written once and never changed.
"""

import contextlib
import errno
import fcntl
import gc
import os
from collections.abc import Iterable, Iterator

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
    return Reader(path).read()


class Reader:
    """Reads a ledger that grows, each line once.

    Args:
      path: of the ledger.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = os.fspath(path)
        self._begin(0)

    def read(self) -> tuple[list[Row], list[str]]:
        """All rows that are there by now, and all warnings, as `read`.

        Raises:
          NewerSchemaError: a row that a newer flaxdrop wrote.
        """
        with contextlib.suppress(FileNotFoundError), open(self._path, "rb", 2**20) as file:
            stat = os.fstat(file.fileno())
            if stat.st_ino != self._inode or stat.st_size < self._end:  # another file
                self._begin(stat.st_ino)
            file.seek(self._end)
            with _without_collection():
                return self._go_on(file)
        return [], []

    def _go_on(self, file: Iterable[bytes]) -> tuple[list[Row], list[str]]:
        for line in file:
            if not line.endswith(b"\n"):  # it may go on: it is read again
                rows, warnings = dict(self._rows), list(self._warnings)
                self._add(line, rows, warnings)
                return list(rows.values()), warnings
            self._add(line, self._rows, self._warnings)
            self._lines += 1
            self._end += len(line)
        return list(self._rows.values()), list(self._warnings)

    def _begin(self, inode: int) -> None:
        self._inode, self._end, self._lines = inode, 0, 0
        self._rows: dict[tuple[Content, str, int], Row] = {}
        self._warnings: list[str] = []

    def _add(
        self, line: bytes, rows: dict[tuple[Content, str, int], Row], warnings: list[str]
    ) -> None:
        """Adds what the next line holds."""
        if not line.strip():
            return
        where = f"{self._path} line {self._lines + 1}"
        try:
            row = Row.from_json(line.decode())
        except NewerSchemaError as error:
            raise NewerSchemaError(f"{where}: {error}") from None
        except ValueError as error:
            warnings.append(f"{where}: left out, {error}")
            return
        first = rows.setdefault((row.content, row.variant, row.seed), row)
        if first is not row:
            warnings.append(
                f"{where}: left out, {row.variant} with seed {row.seed} is already in an "
                "earlier line"
            )


@contextlib.contextmanager
def _without_collection() -> Iterator[None]:
    """Python does not look for cycles: rows have none, and it takes a tenth of the time."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()
