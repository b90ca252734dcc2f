"""The work folder of a run: what it is made for, its lock, and the paths in it."""

import dataclasses
import errno
import fcntl
import json
import os
import pathlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from flaxdrop.results.provenance import config_hash
from flaxdrop.training.system_files import is_system_file

LEDGERS = pathlib.Path("benchmarks/ledger")  # of the reproduction: a file a study
_ASIDE = ".tmp"


class Occupied(ValueError):
    """Another run is in the folder."""


@dataclasses.dataclass(frozen=True)
class WorkFolder:
    """Paths in the folder of a run.

    Attributes:
      path: of the folder.
      shared_ledger: where finished cells go, with those of other runs; None: into the folder.
    """

    path: pathlib.Path
    shared_ledger: pathlib.Path | None = None

    @property
    def ledger(self) -> pathlib.Path:
        """The ledger of finished cells."""
        return self.shared_ledger or self.path / "ledger.jsonl"

    @property
    def checkpoints(self) -> pathlib.Path:
        """Cells in training, and the last state of finished ones."""
        return self.path / "checkpoints"

    @property
    def table(self) -> pathlib.Path:
        """The table, in Markdown."""
        return self.path / "table.md"

    def picture(self, name: str) -> pathlib.Path:
        """A picture of the results."""
        return self.path / f"{name}.png"

    @property
    def read_only(self) -> bool:
        """It is of a run and cannot be written, as on a disk that is mounted so."""
        return self._settings.exists() and not os.access(self.path, os.W_OK)

    @contextmanager
    def claimed(self, study: str, identity: Mapping[str, Any], source: str = "") -> Iterator[None]:
        """Creates the folder, or enters one that was made for the same cells, alone.

        Args:
          study: its name.
          identity: what a cell's result depends on: settings, numerics, data, weights.
          source: the file of a study that flaxdrop does not list: it is kept for who reads the run.

        Raises:
          Occupied: another run is in it.
          ValueError: it was made with other settings.
          OSError: it cannot be written, or its file system has no locks.
        """
        self.check(study, identity)
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lock = open(self.path / "lock", "a")  # noqa: SIM115 (closed below)
        except OSError as error:
            raise OSError(f"workdir: cannot write {self.path}: {error.strerror}") from None
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise Occupied(f"workdir: another run is in {self.path}, wait for it") from None
            except OSError as error:  # on a network's file system that has none
                raise OSError(
                    f"workdir: must be on a file system with locks, got {self.path}"
                    f" ({error.strerror}); choose a --workdir on a local disk"
                ) from None
            self.check(study, identity)
            about = {"study": study, **({"source": source} if source else {}), **identity}
            write_whole(self._settings, json.dumps(about, indent=2) + "\n")
            yield

    @property
    def _settings(self) -> pathlib.Path:
        return self.path / "settings.json"

    def check(self, study: str, identity: Mapping[str, Any]) -> None:
        """Checks that the folder may be used for these cells.

        Raises:
          ValueError: it is of something else, damaged, or was made with other settings or data.
          OSError: it cannot be written.
        """
        there = next(path for path in (self.path, *self.path.absolute().parents) if path.exists())
        problem = 0
        if not there.is_dir():
            problem = errno.EEXIST if self.path.exists() else errno.ENOTDIR
        elif not os.access(there, os.W_OK | os.X_OK):
            problem = errno.EACCES
        if problem:
            raise OSError(f"workdir: cannot write {self.path}: {os.strerror(problem)}")
        foreign = self.path.is_dir() and not self._ours()
        if not self._settings.exists():  # asked last: another run may have just written it
            if foreign:
                raise ValueError(
                    f"workdir: {self.path} is not empty and not of a run, choose another"
                )
            return
        try:
            recorded = json.loads(self._settings.read_text())
        except (ValueError, RecursionError):
            recorded = None
        if not isinstance(recorded, dict):
            raise ValueError(f"workdir: {self._settings} is damaged, choose another folder")
        recorded.pop("source", None)  # its study may have moved
        here = {"study": study, **identity}
        if config_hash(recorded) == config_hash(here):
            return
        differing = [
            f"{name} ({_short(recorded, name)} there, {_short(here, name)} now)"
            for name in {**recorded, **here}
            if recorded.get(name) != here.get(name)
        ]
        raise ValueError(
            f"workdir: {self.path} was made with other settings or data: {', '.join(differing)};"
            " choose another --workdir"
        )

    def _ours(self) -> bool:
        # What is there when a run was killed as it began.
        begun = {"lock", self._settings.with_suffix(_ASIDE).name}
        names = {path.name for path in self.path.iterdir()}
        return all(name in begun or is_system_file(name) for name in names)


def default_folder(study: str, dataset: str, identity: Mapping[str, Any]) -> pathlib.Path:
    """Where results go unless said otherwise: the same settings find the same folder again."""
    name = "".join(char if char.isalnum() else "-" for char in dataset.split("/")[-1])
    return pathlib.Path("runs") / f"{study}-{name}-{config_hash(identity)}"


def _short(fields: Mapping[str, Any], name: str) -> str:
    value = fields.get(name, "missing")
    is_digest = name.endswith("_digest") and isinstance(value, str)
    return repr(value[:12] if is_digest else value)


def write_whole(path: pathlib.Path, text: str) -> None:
    """Writes a file so that nobody ever sees a part of it."""
    aside = path.with_suffix(_ASIDE)
    aside.write_text(text)
    os.replace(aside, path)
