"""Studies that are more than a table of networks train on a cluster as they do on one machine."""

import sys

import pytest

from benchmarks import where
from tests.benchmarks.conftest import ROOT

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
