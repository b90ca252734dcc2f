"""Checkpoints of single cells, by orbax: `<folder>/<cell>/<step>`.

Each is written aside, renamed and then sealed with a checksum; one whose seal is not right is
passed over for the one before it.
"""

import hashlib
import logging
import os
import pathlib
import shutil
import tempfile
from typing import Any

import jax
import numpy as np

_KEPT = 2  # the newest, and one to fall back to
_OVERHEAD = 2  # orbax writes everything twice before it removes the first
_SLACK = 1 << 20  # bytes, for its metadata
_SEAL = "sha256"


def steps_saved(folder: pathlib.Path, cell: str) -> list[int]:
    """The steps at which a cell was saved, ascending."""
    there = (folder / cell).glob("*")
    return sorted(int(path.name) for path in there if path.name.isdigit())


def save(folder: pathlib.Path, states: dict[str, tuple[Any, float]]) -> None:
    """Saves cells and forgets all but the two newest checkpoints of each.

    Args:
      folder: where the checkpoints are.
      states: cell -> (state with a scalar `step`, seconds trained so far).

    Raises:
      OSError: it cannot be written, for example to a full disk.
    """
    ocp = _orbax()
    with _checkpointer() as checkpointer:
        for cell, (state, seconds) in states.items():
            path = (folder / cell / str(int(state.step))).absolute()
            tree = {"state": jax.tree.map(np.asarray, state), "seconds": np.float64(seconds)}
            try:
                _make_room(path.parent, sum(leaf.nbytes for leaf in jax.tree.leaves(tree)))
                checkpointer.save(path, args=ocp.args.StandardSave(tree), force=True)
                (path / _SEAL).write_text(_checksum(path))
            except (OSError, ValueError, RuntimeError) as error:
                reason = str(error).strip().splitlines()[-1] if str(error).strip() else repr(error)
                raise OSError(f"cannot write the checkpoint {path}: {reason}") from error
    for cell, (state, _) in states.items():
        saved = steps_saved(folder, cell)
        # Later ones are damaged: they were passed over.
        kept = [step for step in saved if step <= int(state.step)][-_KEPT:]
        for step in set(saved) - set(kept):
            shutil.rmtree(folder / cell / str(step), ignore_errors=True)


def load(folder: pathlib.Path, cell: str, like: Any) -> tuple[Any, float] | None:
    """The newest state of a cell that can be read.

    Args:
      folder: where the checkpoints are.
      cell: its name.
      like: a state with the shapes and dtypes to expect.

    Returns:
      (state of NumPy arrays, seconds trained so far), or None where there is none. A damaged one is
      logged and passed over.
    """
    wanted = {
        "state": jax.tree.map(lambda leaf: np.empty(leaf.shape, leaf.dtype), like),
        "seconds": np.float64(0),
    }
    for step in reversed(steps_saved(folder, cell)):
        path = (folder / cell / str(step)).absolute()
        if not _sealed(path):
            logging.warning("checkpoint %s is damaged and passed over", path)
            continue
        ocp = _orbax()
        try:
            with _checkpointer() as checkpointer:
                tree = checkpointer.restore(path, args=ocp.args.StandardRestore(wanted))
        except Exception as error:
            reason = (str(error).splitlines() or [repr(error)])[0]
            logging.warning("checkpoint %s cannot be read and is passed over: %s", path, reason)
            continue
        return tree["state"], float(tree["seconds"])
    return None


def forget(folder: pathlib.Path, cell: str) -> None:
    """Removes all but the newest checkpoint of a cell that is finished."""
    for step in steps_saved(folder, cell)[:-1]:
        shutil.rmtree(folder / cell / str(step), ignore_errors=True)


def _orbax() -> Any:
    # Imported when it is needed: it takes long, and a run that begins has nothing to load.
    import orbax.checkpoint

    return orbax.checkpoint


def _checkpointer() -> Any:
    ocp = _orbax()
    # The asynchronous one, when it cannot write, keeps the process waiting for five minutes.
    return ocp.Checkpointer(ocp.StandardCheckpointHandler())


def _checksum(path: pathlib.Path) -> str:
    digest = hashlib.sha256()
    for file in sorted(file for file in path.rglob("*") if file.is_file() and file.name != _SEAL):
        content = file.read_bytes()
        digest.update(os.fsencode(f"{file.relative_to(path)}\0{len(content)}\0"))
        digest.update(content)
    return digest.hexdigest()


def _sealed(path: pathlib.Path) -> bool:
    # Orbax itself reads a flipped bit as a number, and says of a damaged file in many lines that it
    # is damaged.
    try:
        return (path / _SEAL).read_text() == _checksum(path)
    except OSError:
        return False


def _make_room(folder: pathlib.Path, size: int) -> None:
    """Clears away what was half-written, and finds out whether `size` bytes can be written.

    Where they cannot, orbax says so in hundreds of lines.

    Raises:
      OSError: they cannot.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.glob("*.orbax-checkpoint-tmp*"):
        shutil.rmtree(path)
    with tempfile.TemporaryFile(dir=folder) as file:
        file.write(bytes(_OVERHEAD * size + _SLACK))
