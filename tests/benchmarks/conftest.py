import dataclasses
import json
import logging
import math
import os
import pathlib
import sys
import warnings
from contextlib import contextmanager

import jax
import numpy as np
import pytest

from benchmarks.harness.command import execute
from benchmarks.preresnet import STUDY
from flaxdrop.data import load
from flaxdrop.results.plain import CURVES
from flaxdrop.results.row import Row

ROOT = pathlib.Path(__file__).parents[2]

# A network with one block, on 60 of the digits.
TINY = """
from benchmarks.preresnet import PreResNetSettings


def get_config(form="short"):
    config = PreResNetSettings.config()
    config.dataset = "digits"
    config.train_examples, config.test_examples = 60, 50
    config.depth, config.widths = 4, (4,)
    config.rate = 0.5
    config.variants, config.seeds = "none,p6", 2
    config.epochs, config.batch = {"short": 2, "long": 150}[form], 20
    config.devices = 2
    return config
"""


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How a command ended, and what it said."""

    status: int
    out: str
    err: str


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Where the user is: an empty folder but for the config `tiny.py`."""
    (tmp_path / "tiny.py").write_text(TINY)
    monkeypatch.chdir(tmp_path)
    # Tests look at what a command leaves there; Python may keep the compiled config, too.
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    return tmp_path


def write_digits_as_cifar10(folder):
    """Makes a folder with a `cifar10.npz`, which holds a hundred digits."""
    digits = load("digits").first(100, 100)
    arrays = {name: getattr(digits, name) for name in ("x_train", "y_train", "x_test", "y_test")}
    folder.mkdir()
    np.savez(folder / "cifar10.npz", **arrays)


@pytest.fixture(scope="session")
def rows_of_job():
    """Makes rows of a job: variant -> accuracies of its seeds; NaN, it diverged."""

    def make(job, accuracies, **fields):
        return [
            _row(job, variant, seed, accuracy, fields)
            for variant, row in accuracies.items()
            for seed, accuracy in enumerate(row)
        ]

    return make


def _row(job, variant, seed, accuracy, fields):
    lost = math.isnan(accuracy)
    right = {
        "study": job.study.name,
        "config": job.settings.identity(),
        **job.content._asdict(),
        "variant": variant,
        "placement": str(job.every_variant[variant].placement),
        "seed": seed,
        "status": "diverged" if lost else "finished",
        "best_accuracy": accuracy,
        "best_epoch": None if lost else 1,
        "last_accuracy": accuracy,
        "last_nll": accuracy,
        "last_ece": accuracy,
        "chance": 0.01,
        "curve": {name: [accuracy] for name in CURVES},
        "right": [],
        "train_examples": 0,
        "test_examples": 0,
        "measured": {},
        "digest": "0" * 64,
        "parameters": 100,
        "device_kind": "cpu",
        "platform": "cpu",
        "precision": "float32",
        "versions": {"python": "3.11.7", "jax": "0.10.2"},
        "git_revision": "f" * 40,
        "wall_seconds": 60.0,
        "compile_seconds": 3.0,
        "images_per_second": 100.0,
        "finished_at": "2026-01-02T03:04:05+00:00",
    }
    return Row(**{**right, **fields})


@pytest.fixture(scope="session")
def finished_once(tmp_path_factory):
    """The work folder of a whole run of `tiny.py`."""
    folder = tmp_path_factory.mktemp("finished")
    (folder / "tiny.py").write_text(TINY)
    arguments = ["--config", str(folder / "tiny.py"), "--workdir", str(folder / "results")]
    with as_in_a_process_of_its_own():
        assert execute(STUDY, ["preresnet", *arguments]) == 0
    return folder / "results"


@pytest.fixture(scope="session")
def trained_table(tmp_path_factory):
    """The work folder of a position table: four variants, two seeds, an epoch."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    fields = {
        "train_examples": 100,
        "test_examples": 100,
        "epochs": 1,
        "seeds": 2,
        "widths": (4,),
        "depth": 4,
        "variants": "none,p0,p4,p6",
    }
    arguments = ["--config", str(ROOT / "configs/digits.py"), "--workdir", str(folder)]
    arguments += [f"--config.{name}={value}" for name, value in fields.items()]
    with as_in_a_process_of_its_own():
        assert execute(STUDY, ["preresnet", *arguments]) == 0
    return folder


@contextmanager
def as_in_a_process_of_its_own():
    """Puts back what a command sets for the whole process."""
    precision = jax.config.jax_default_matmul_precision
    level = logging.getLogger("absl").level
    sys.modules.pop("config_config", None)  # ml_collections loads the next config into the last
    with warnings.catch_warnings():
        # ml_collections loads config files with it.
        warnings.filterwarnings("ignore", r"the load_module\(\) method", DeprecationWarning)
        yield
    logging.getLogger("absl").setLevel(level)
    jax.config.update("jax_default_matmul_precision", precision)


@pytest.fixture
def run_study(capsys):
    """Runs the command line of a study in this process."""

    def run(study, *arguments):
        capsys.readouterr()
        with as_in_a_process_of_its_own():
            status = execute(study, [study.name, *map(str, arguments)])
        said = capsys.readouterr()
        return Outcome(status, said.out, said.err)

    return run


@pytest.fixture
def run_command_line(capsys):
    """Runs the `main` of a command in this process."""

    def run(main, arguments):
        capsys.readouterr()
        with as_in_a_process_of_its_own():
            status = main(list(map(str, arguments)))
        said = capsys.readouterr()
        return Outcome(status, said.out, said.err)

    return run


@pytest.fixture
def command(folder, run_study):
    """Runs the command line of the position table in this process."""
    assert folder == pathlib.Path.cwd()

    def run(*arguments, config="tiny.py"):
        return run_study(STUDY, "--config", config, *arguments)

    return run


@pytest.fixture
def shell(folder):
    """The arguments of `subprocess` that run the command line in a process of its own."""

    def process(*arguments, config="tiny.py", before=""):
        program = [sys.executable, "-m", "benchmarks.preresnet"]
        if before:
            start = "import runpy; runpy.run_module('benchmarks.preresnet', run_name='__main__')"
            program = [sys.executable, "-c", f"{before}\n{start}"]
        return {
            "args": [*program, "--config", config, *map(str, arguments)],
            "cwd": folder,
            "env": {
                **os.environ,
                "PYTHONPATH": str(ROOT),
                "PYTHONDONTWRITEBYTECODE": "1",  # as in `folder`
                "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
            },
            "text": True,
        }

    return process


@pytest.fixture(scope="session")
def rows_in():
    """The lines of the ledger in a work folder."""

    def rows(folder):
        return [json.loads(line) for line in (folder / "ledger.jsonl").read_text().splitlines()]

    return rows


@pytest.fixture(scope="session")
def cells_in(rows_in):
    """The cells (variant, seed) in the ledger of a work folder, in its order."""
    return lambda folder: [(row["variant"], row["seed"]) for row in rows_in(folder)]


@pytest.fixture(scope="session")
def digests_in(rows_in):
    """Cell -> digest, of the ledger of a work folder."""
    return lambda folder: {(row["variant"], row["seed"]): row["digest"] for row in rows_in(folder)}
