"""What a host of a cluster does: it shows that it fits, and trains cells. It writes no row."""

import contextlib
import dataclasses
import functools
import hashlib
import logging
import os
import pathlib
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
import ray

import flaxdrop
from benchmarks.harness.catalog import import_study
from benchmarks.harness.cluster.board import BoardStop, Link
from benchmarks.harness.plan import Plan, cell_name
from benchmarks.harness.planning import make_plan
from benchmarks.harness.study import Study
from benchmarks.harness.training import Compiled, FinishedCell, compile_family, finish_cells
from flaxdrop.data.dataset import Dataset
from flaxdrop.results import provenance
from flaxdrop.training.checkpoint import ATTEMPT
from flaxdrop.training.content import Content
from flaxdrop.training.environment import processor
from flaxdrop.training.loop import TrainingStopped

# What a task returns is plain: a host that does not fit may lack every class of ours.
FINISHED, STOPPED, UNFIT, MISTAKE, DISK = "finished", "stopped", "unfit", "mistake", "disk"
Wanted = tuple[Mapping[str, str], str, str, str]


@dataclasses.dataclass(frozen=True)
class Job:
    """What hosts make the plan of a run from.

    Attributes:
      study: its name.
      source: its file, if it is not in the catalog; all hosts have it there.
      settings: the fields of its settings.
      directory: of the driver: names of files in the settings are looked up there.
      folder: of the run, which all hosts see.
      content: what the cells must be.
      dataset: of the run: hosts need no copy of their own.
    """

    study: str
    source: str
    settings: Mapping[str, Any]
    directory: str
    folder: pathlib.Path
    content: Content
    dataset: Dataset


def versions(source: str) -> dict[str, str]:
    """The versions that all hosts must have in common.

    Args:
      source: the file of the study, if it is not in the catalog.
    """
    return {**provenance.versions(), "sources": _digest_of_sources(source)}


@functools.cache
def _digest_of_sources(source: str) -> str:
    total = hashlib.sha256()
    for folder in (pathlib.Path(flaxdrop.__path__[0]), pathlib.Path(__file__).parents[2]):
        for path in sorted(folder.rglob("*.py")):
            total.update(f"{path.relative_to(folder.parent)}\n".encode() + path.read_bytes())
    if source:
        total.update(pathlib.Path(source).read_bytes())
    return total.hexdigest()[:12]


def show_fit(wanted: Wanted) -> tuple[str, str, str]:
    """Shows whether this host may train.

    Args:
      wanted: the versions; the file of the study, if it is not in the catalog; the work folder; a
        file in it, which holds its own name, or nothing: the folder does not matter.

    Returns:
      `FINISHED`, the node, and its processor; or `UNFIT`, the node, and what is wrong.
    """
    fault = _fault(*wanted[1:], tuple(wanted[0].items()))
    node = ray.get_runtime_context().get_node_id()
    return (UNFIT, node, fault) if fault else (FINISHED, node, processor())


@functools.cache
def _fault(source: str, folder: str, token: str, wanted: tuple[tuple[str, str], ...]) -> str:
    try:
        here = versions(source)
    except OSError as error:
        return f"cannot read the study {source}: {error.strerror}"
    for name, version in wanted:
        if here.get(name) != version:
            return f"has {name} {here.get(name)}, not {version}"
    if not token:
        return ""
    path = pathlib.Path(folder) / token
    try:
        if path.read_text() != token:
            raise FileNotFoundError
        path.with_name(f"{token}.{ray.get_runtime_context().get_node_id()}").write_text(token)
    except FileNotFoundError:
        return f"does not see the work folder {folder}"
    except OSError as error:
        return f"cannot write the work folder {folder}: {error.strerror}"
    return ""


def train(
    wanted: Wanted,
    kind: str,
    jobs: Sequence[Any],
    family: int,
    cells: Sequence[tuple[str, int]],
    board: Any,
    task: int,
) -> tuple[str, Any, str]:
    """Trains the cells of a task, or goes on with them; nobody need have begun them here.

    Args:
      wanted: of the run; see `show_fit`.
      kind: of the devices: CPU, GPU or TPU.
      jobs: the references of the `Job` and, with a frozen network, of what `features` returns.
      family: its number in the plan.
      cells: (variant, seed), as many as a device trains at a time.
      board: the actor.
      task: the number of the task.

    Returns:
      How it ended, the cells that are finished (`UNFIT`: the host's node), and words.
    """
    fit = _show_fit_to_train(wanted, kind)
    if fit[0] == UNFIT:
        return fit
    finished: list[FinishedCell] = []
    try:
        study, plan = _plan(*jobs)
        attempt = f"{ATTEMPT}{ray.util.get_node_ip_address()}-{uuid.uuid4().hex[:8]}"
        checkpoints = dataclasses.replace(plan.checkpoints, attempt=attempt)
        names = [cell_name(*cell) for cell in cells]
        steps = sum(map(checkpoints.last_step, names))
        link = Link(board, task, steps * plan.settings.batch)
        logging.getLogger().addHandler(link)
        try:
            if reason := ray.get(link.answer):
                return STOPPED, finished, reason
            compiled = _compiled(family, *jobs)
            stop = BoardStop(link)
            ways = checkpoints, stop, link.advance, link.after_epoch
            for cell in finish_cells(study, plan, compiled, cells, *ways):
                finished.append(cell)
            link.advance(0)
        finally:
            logging.getLogger().removeHandler(link)
    except TrainingStopped as stopped:
        return STOPPED, finished, str(stopped)
    except ValueError as error:
        return MISTAKE, finished, str(error)
    except OSError as error:
        return DISK, finished, str(error)
    return FINISHED, finished, ""


def features(wanted: Wanted, kind: str, jobs: Sequence[Any]) -> tuple[str, Any, str]:
    """Computes what the frozen network of a run makes of its images, once for all hosts."""
    fit = _show_fit_to_train(wanted, kind)
    if fit[0] == UNFIT:
        return fit
    return FINISHED, jax.tree.map(np.asarray, _plan(*jobs)[1].images), ""


@functools.lru_cache(maxsize=1)  # the images of two runs may not fit
def _plan(job: Any, computed: Any = None) -> tuple[Study[Any], Plan[Any]]:
    made: Job = ray.get(job)
    with contextlib.suppress(OSError):  # it need not be here if nothing is looked up
        os.chdir(made.directory)
    study = import_study(made.study, made.source)
    settings = study.settings(**made.settings)
    if study.prepare:
        study = study.prepare(settings, made.dataset)
    plan = make_plan(study, settings, str(made.folder), dataset=made.dataset)
    if plan.content != made.content:
        raise ValueError(f"cluster: {ray.util.get_node_ip_address()} plans other cells")
    if computed:
        how, images, words = ray.get(computed)
        if how == UNFIT:
            raise ValueError(f"cluster: a host {words}")
        vars(plan)["images"] = images
    return study, plan


@functools.lru_cache(maxsize=1)
def _compiled(family: int, *jobs: Any) -> Compiled:
    plan = _plan(*jobs)[1]
    return compile_family(plan, plan.families[family])


def _show_fit_to_train(wanted: Wanted, kind: str) -> tuple[str, str, str]:
    """As `show_fit`; before, it makes jax take the devices that Ray gives to this process."""
    if kind == "CPU":
        jax.config.update("jax_platforms", "cpu")
        return show_fit(wanted)
    held = ray.get_runtime_context().get_accelerator_ids()[kind]
    if _HELD and held != _HELD:
        os._exit(1)  # jax keeps its devices; Ray begins the task again in another process
    _HELD[:] = held
    # A process that waits for its next task leaves the memory to others.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    fit = show_fit(wanted)
    if fit[0] != UNFIT and jax.default_backend() == "cpu":
        return UNFIT, fit[1], f"has a {kind} that its jax does not see"
    return fit


_HELD: list[str] = []
