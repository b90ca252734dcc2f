"""Checkpoints of single cells, by orbax: `<folder>/<cell>/<step>`.

On a cluster, two hosts may train one cell, each not knowing of the other: every attempt then has a
folder of its own to write to, `<folder>/<cell>/<attempt>/<step>`, and all of them are read.

Each is written aside, sealed and then renamed: the seal names whose it is, and every file that was
written with its checksum. One whose seal is not right, or of another cell, config or data, is
passed over for the one before it, and left alone. Files that are not in the seal do not matter.
"""

import contextlib
import dataclasses
import functools
import hashlib
import json
import logging
import pathlib
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from flaxdrop.training.content import Content
from flaxdrop.training.system_files import is_system_file

ATTEMPT = "attempt-"  # the names of attempts begin so
_KEPT = 2  # the newest, and one to fall back to
_OVERHEAD = 2  # orbax writes everything twice before it removes the first
_SLACK = 1 << 20  # bytes, for its metadata
_SEAL = "seal"
_HALF_WRITTEN = ".half-written"
_MANIFEST = "manifest.ocdbt"  # of orbax: without it nothing of a checkpoint can be read
_PLAIN_PATH = re.compile(r"[\w/.,:=@+ -]*")
_EARLIER_SEAL = "sha256"  # of a flaxdrop whose seals named no cell


@dataclasses.dataclass(frozen=True)
class Checkpoints:
    """The checkpoints of cells of one content.

    Attributes:
      folder: where they are.
      content: of the cells; those of another are passed over.
      attempt: the name of the folder that it writes to, in that of the cell; it begins with
        `ATTEMPT`. Empty: nobody else writes, and it writes to that of the cell.
    """

    folder: pathlib.Path
    content: Content
    attempt: str = ""

    def cells(self) -> set[str]:
        """The names of the cells that have a folder here."""
        return {path.name for path in self.folder.glob("*")}

    def steps(self, cell: str) -> list[int]:
        """The steps at which a cell was saved, whatever can be read of it, ascending."""
        return sorted({int(path.name) for path in self._every(cell)})

    def last_step(self, cell: str) -> int:
        """The last step at which a cell was saved; 0: it was not."""
        return max(self.steps(cell), default=0)

    def save(self, states: dict[str, tuple[Any, float]]) -> None:
        """Saves cells and forgets all but the two newest checkpoints of each.

        Args:
          states: cell -> (state with a scalar `step`, seconds trained so far).

        Raises:
          OSError: it cannot be written, for example to a full disk.
        """
        for cell, (state, seconds) in states.items():
            path = self._own(cell).absolute() / str(int(state.step))
            tree = {"state": jax.tree.map(np.asarray, state), "seconds": np.float64(seconds)}
            try:
                _make_room(path.parent, sum(leaf.nbytes for leaf in jax.tree.leaves(tree)))
                written = path.with_name(f"{path.name}{_HALF_WRITTEN}")
                _write(written, tree)
                (written / _SEAL).write_text(_seal(written, self._owner(cell)))
                if path.exists():
                    (_set_aside if self._fault(cell, path) else shutil.rmtree)(path)
                written.rename(path)
            except (OSError, ValueError, RuntimeError) as error:
                said = str(error).strip().splitlines() or [repr(error)]
                reason = said[-1].rpartition('": ')[2]  # behind the paths of orbax's own files
                raise OSError(f"cannot write the checkpoint {path}: {reason}") from error
        for cell, (state, _) in states.items():
            self._keep(cell, _steps_in(self._own(cell)), int(state.step), _KEPT)

    def load(self, cell: str, like: Any) -> tuple[Any, float] | None:
        """The newest state of a cell that can be read.

        Args:
          cell: its name.
          like: a state with the shapes and dtypes to expect.

        Returns:
          (state of NumPy arrays, seconds trained so far), or None where there is none. One that is
          damaged, or of another cell, is logged and passed over.
        """
        wanted = {
            "state": jax.tree.map(lambda leaf: np.empty(leaf.shape, leaf.dtype), like),
            "seconds": np.float64(0),
        }
        for path in reversed(self._every(cell)):
            if fault := self._fault(cell, path):
                logging.warning("checkpoint %s is %s and passed over", path, fault)
                continue
            if (written_by := _sealed(path).get("jax", jax.__version__)) != jax.__version__:
                logging.warning(
                    "checkpoint %s is of jax %s and goes on with jax %s: the result may differ in"
                    " rounding",
                    path,
                    written_by,
                    jax.__version__,
                )
            try:
                tree = _read(path, wanted)
            except Exception as error:
                reason = (str(error).splitlines() or [repr(error)])[0]
                logging.warning("checkpoint %s cannot be read and is passed over: %s", path, reason)
                continue
            return tree["state"], float(tree["seconds"])
        return None

    def forget(self, cell: str, step: int) -> None:
        """Removes all but the newest checkpoint of a cell that is finished at `step`."""
        self._keep(cell, self._every(cell), step, 1)
        for attempt in self._attempts(cell):
            if all(_HALF_WRITTEN in path.name for path in attempt.glob("*")):
                shutil.rmtree(attempt, ignore_errors=True)

    def _own(self, cell: str) -> pathlib.Path:
        return self.folder / cell / self.attempt

    def _attempts(self, cell: str) -> list[pathlib.Path]:
        return sorted((self.folder / cell).glob(f"{ATTEMPT}*"))

    def _every(self, cell: str) -> list[pathlib.Path]:
        """The checkpoints of a cell, of all attempts, ascending by step."""
        folders = [self.folder / cell, *self._attempts(cell)]
        found = [path.absolute() for folder in folders for path in _steps_in(folder)]
        return sorted(found, key=lambda path: int(path.name))

    def _keep(self, cell: str, paths: list[pathlib.Path], newest: int, count: int) -> None:
        """Removes those before the last `count` up to `newest`, but none that was passed over."""
        finished = [path for path in paths if int(path.name) <= newest]
        for path in [path for path in finished if not self._fault(cell, path)][:-count]:
            shutil.rmtree(path, ignore_errors=True)

    def _owner(self, cell: str) -> dict[str, Any]:
        return {"cell": cell, **self.content._asdict()}

    def _fault(self, cell: str, path: pathlib.Path) -> str:
        """What is wrong with a checkpoint; empty: nothing."""
        # Orbax itself reads a flipped bit as a number, and says of a damaged file in many lines
        # that it is damaged.
        try:
            sealed = _sealed(path)
            if any(_checksum(path / name) != right for name, right in sealed["files"].items()):
                return "damaged"
        except (OSError, ValueError):
            return "of an earlier flaxdrop" if (path / _EARLIER_SEAL).exists() else "damaged"
        for name, own in self._owner(cell).items():
            if sealed["of"].get(name) != own:
                return f"of another {name}"
        return ""


def _steps_in(folder: pathlib.Path) -> list[pathlib.Path]:
    """The checkpoints in a folder, ascending by step."""
    there = [path for path in folder.glob("*") if path.name.isdigit()]
    return sorted(there, key=lambda path: int(path.name))


def _orbax() -> Any:
    # Imported when it is needed: it takes long, and a run that begins has nothing to load.
    import orbax.checkpoint

    return orbax.checkpoint


def _checkpointer() -> Any:
    ocp = _orbax()
    # The asynchronous one, when it cannot write, keeps the process waiting for five minutes.
    return ocp.Checkpointer(ocp.StandardCheckpointHandler())


def _write(path: pathlib.Path, tree: Any) -> None:
    """Writes a tree with orbax.

    Raises:
      OSError: what orbax needs to read it again was not written.
    """
    # Of a disk that fills up meanwhile it says in hundreds of lines what its exception says in one.
    _quieten_late_words()
    absl = logging.getLogger("absl")
    level = absl.level
    absl.setLevel(logging.CRITICAL)
    try:
        with _neutral(path) as neutral, _checkpointer() as checkpointer:
            checkpointer.save(neutral, args=_orbax().args.StandardSave(tree), force=True)
    finally:
        absl.setLevel(level)
    if not (path / _MANIFEST).is_file():
        raise OSError(f"orbax wrote no {_MANIFEST}")


@functools.cache
def _quieten_late_words() -> None:
    """Silences, for good, what failed writes say at any later time: they were raised before.

    Asyncio speaks when it collects their tasks; tensorstore, when it finds its event loop closed.
    """
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    before = sys.unraisablehook

    def hook(unraisable: Any) -> None:
        if str(unraisable.exc_value) != "Event loop is closed":
            before(unraisable)

    sys.unraisablehook = hook


def _read(path: pathlib.Path, like: Any) -> Any:
    with _neutral(path) as neutral, _checkpointer() as checkpointer:
        return checkpointer.restore(neutral, args=_orbax().args.StandardRestore(like))


@contextlib.contextmanager
def _neutral(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """A path to the same place that orbax takes as it is.

    It takes a path as a pattern of `glob`, in which brackets and the like have a meaning.
    """
    if _PLAIN_PATH.fullmatch(str(path)):
        yield path
        return
    place = tempfile.gettempdir()  # of the user, who may call it anything, too
    place = place if _PLAIN_PATH.fullmatch(place) else "/tmp"
    with tempfile.TemporaryDirectory(prefix="flaxdrop-", dir=place) as folder:
        link = pathlib.Path(folder) / "checkpoints"
        link.symlink_to(path.parent, target_is_directory=True)
        yield link / path.name


def _checksum(path: pathlib.Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _sealed(path: pathlib.Path) -> dict[str, Any]:
    """What the seal of a checkpoint says.

    Raises:
      OSError, ValueError: it cannot be read, or is damaged.
    """
    checksum, _, body = (path / _SEAL).read_text().partition("\n")
    if checksum != hashlib.sha256(body.encode()).hexdigest():
        raise ValueError(f"{path / _SEAL} is damaged")
    sealed: dict[str, Any] = json.loads(body)
    return sealed


def _seal(path: pathlib.Path, owner: dict[str, Any]) -> str:
    """The text that seals a checkpoint: a checksum of what follows, its cell, jax and files."""
    written = [f for f in path.rglob("*") if f.is_file() and not is_system_file(f.name)]
    files = {file.relative_to(path).as_posix(): _checksum(file) for file in sorted(written)}
    body = json.dumps({"of": owner, "jax": jax.__version__, "files": files})
    return f"{hashlib.sha256(body.encode()).hexdigest()}\n{body}"


def _set_aside(path: pathlib.Path) -> None:
    """Renames what was passed over and is in the way."""
    number = 1
    while (aside := path.with_name(f"{path.name}.passed-over-{number}")).exists():
        number += 1
    path.rename(aside)


def _make_room(folder: pathlib.Path, size: int) -> None:
    """Clears away what was half-written, and finds out whether `size` bytes can be written.

    Where they cannot, orbax says so in hundreds of lines.

    Raises:
      OSError: they cannot.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.glob(f"*{_HALF_WRITTEN}*"):
        shutil.rmtree(path, ignore_errors=True)
    with tempfile.TemporaryFile(dir=folder) as file:
        file.write(bytes(_OVERHEAD * size + _SLACK))
