"""What is more than one table of networks trains on a cluster as it does on one machine."""

import subprocess
import sys

import pytest

from benchmarks import where
from flaxdrop.results import ledger
from tests.benchmarks.conftest import ROOT, write_digits_as_cifar10

pytestmark = [pytest.mark.slow, pytest.mark.optimised]

NETWORKS = """
import flax.linen as nn


class Network(nn.Module):
    num_classes: int

    @nn.compact
    def __call__(self, x, train):
        x = nn.relu(nn.BatchNorm(use_running_average=not train)(nn.Conv(4, (3, 3), 2)(x)))
        return nn.Dense(self.num_classes)(x.mean((1, 2)))


def make(num_classes):
    return Network(num_classes)
"""
# The folder of the ledgers and the address of a cluster; the digits are as if they were CIFAR-10.
REPRODUCTION = """
import pathlib
import sys

from benchmarks.harness.cluster.joining import joined
from benchmarks.harness.published_data import PUBLISHED
from benchmarks.preresnet import STUDY, PreResNetSettings
from benchmarks.reproduce import reproduce
from benchmarks.reproduction.jobs import Job
from flaxdrop.data import load
from flaxdrop.training.stopping import Stop


def job(rate, seeds):
    settings = PreResNetSettings(
        dataset="cifar10", train_examples=60, test_examples=50, depth=4, widths=(4,), rate=rate,
        variants="none,p6", seeds=seeds, epochs=2, batch=20, devices=0,
    )
    return Job(STUDY, "configs/a.py", "tiny", settings)


def main(ledgers, address):
    PUBLISHED["cifar10"] = load("cifar10", data_dir="data").digest
    stop = Stop()
    with joined(address) as cluster, stop.listening():
        jobs = [job(0.5, seeds=2), job(0.25, seeds=1)]
        return reproduce(jobs, pathlib.Path(ledgers), stop, "data", cluster)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
"""
RACE = {"train_examples": 40, "test_examples": 50, "epochs": 1, "batch": 20, "rates": 0.3}
FEATURES = {"train_examples": 100, "test_examples": 100, "image_size": 32, "layers": (1, 1, 1, 1)}


def words(config, workdir, **fields):
    given = [f"--config.{name}={value}" for name, value in fields.items()]
    return ["--config", str(ROOT / config), "--workdir", workdir, *given]


def on_cluster(lab, module, words):
    head, *_ = lab.up(2)
    run = head.start(sys.executable, "-m", module, *words, "--cluster", lab.address)
    said, complaint = run.communicate()
    assert run.returncode == 0, complaint
    return said


def test_a_race_of_places(lab, run_command_line, digests_in):
    (lab.folder / "my_networks.py").write_text(NETWORKS)
    fields = {
        **RACE,
        "network": "my_networks:make",
        "seeds": 3,
        "margin": 0.5,
        "places": "Conv_0:in",
    }
    on_cluster(lab, "benchmarks.where", words("configs/where.py", "wide", **fields))
    alone = run_command_line(where.main, words("configs/where.py", "serial", **fields))
    assert alone.status == 0, alone.err
    assert digests_in(lab.folder / "wide") == digests_in(lab.folder / "serial")


def test_features_of_a_frozen_network(lab, run_study, digests_in):
    from benchmarks.transfer import STUDY

    fields = {**FEATURES, "seeds": 2, "epochs": 2, "rates": 0.5, "devices": 0}
    fields["cells_per_device"] = 2
    on_cluster(lab, "benchmarks.transfer", words("configs/transfer_digits.py", "wide", **fields))
    alone = run_study(STUDY, *words("configs/transfer_digits.py", "serial", **fields))
    assert alone.status == 0, alone.err
    assert digests_in(lab.folder / "wide") == digests_in(lab.folder / "serial")


def test_a_reproduction_of_two_tables(lab):
    write_digits_as_cifar10(lab.folder / "data")
    (lab.folder / "reproduction.py").write_text(REPRODUCTION)
    head, *_ = lab.up(2)
    program = (sys.executable, "reproduction.py")
    for _ in range(2):  # the second time nothing is left
        run = head.start(*program, "wide", lab.address)
        said, complaint = run.communicate()
        assert run.returncode == 0, complaint
        assert said.splitlines()[-1] == "done: 0 cells are missing"
    subprocess.run([*program, "serial", ""], check=True, cwd=lab.folder, env=lab.environment)
    wide, serial = (digests_of(lab.folder / name) for name in ("wide", "serial"))
    assert len(serial) == 6
    assert wide == serial


def digests_of(folder):
    """Rate, variant, seed and digest of each row of a reproduction, sorted."""
    rows, warnings = ledger.read(folder / "preresnet.jsonl")
    assert not warnings  # such as: a cell is there twice
    return sorted((row.config["rate"], row.variant, row.seed, row.digest) for row in rows)
