"""Checkpoints of single cells, by orbax: `<folder>/<cell>/<step>`.

Each is written aside and then renamed, so that one that is there is whole; a damaged one is passed
over for the one before it.
"""

import logging
import pathlib
import shutil
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

_KEPT = 2  # the newest, and one to fall back to


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
    with ocp.StandardCheckpointer() as checkpointer:
        for cell, (state, seconds) in states.items():
            path = (folder / cell / str(int(state.step))).absolute()
            tree = {"state": jax.tree.map(np.asarray, state), "seconds": np.float64(seconds)}
            try:
                checkpointer.save(path, tree, force=True)
                checkpointer.wait_until_finished()
            except (OSError, ValueError, RuntimeError) as error:
                reason = str(error).strip().splitlines()[-1] if str(error).strip() else repr(error)
                raise OSError(f"cannot write the checkpoint {path}: {reason}") from error
    for cell in states:
        for step in steps_saved(folder, cell)[:-_KEPT]:
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
        try:
            with ocp.StandardCheckpointer() as checkpointer:
                tree = checkpointer.restore(path, wanted)
        except Exception as error:
            reason = (str(error).splitlines() or [repr(error)])[0]
            logging.warning("checkpoint %s is damaged and passed over: %s", path, reason)
            continue
        return tree["state"], float(tree["seconds"])
    return None


def forget(folder: pathlib.Path, cell: str) -> None:
    """Removes all but the newest checkpoint of a cell that is finished."""
    for step in steps_saved(folder, cell)[:-1]:
        shutil.rmtree(folder / cell / str(step), ignore_errors=True)
