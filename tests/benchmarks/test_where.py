import os
import pathlib
import re
import subprocess
import sys
import time

import jax
import numpy as np
import pytest

from benchmarks import where
from benchmarks.harness import racing
from benchmarks.harness.factory import digest, find_network
from benchmarks.probe import main as main_of_probe
from flaxdrop.training.steps import initial_variables

CONFIG = str(pathlib.Path(__file__).parents[2] / "configs/where.py")
TINY = {
    "train_examples": 40,
    "test_examples": 50,
    "epochs": 1,
    "batch": 20,
    "rates": 0.3,
    "seeds": 3,
    "margin": 0.5,
}
NETWORKS = """
import flax.linen as nn
from flax import nnx


class Block(nn.Module):
    @nn.compact
    def __call__(self, x, train):
        return x + nn.Conv(4, (3, 3))(nn.relu(nn.BatchNorm(use_running_average=not train)(x)))


class Network(nn.Module):
    num_classes: int

    @nn.compact
    def __call__(self, x, train):
        x = Block()(nn.Conv(4, (3, 3), 2)(x), train)
        return nn.Dense(self.num_classes)(x.mean((1, 2)))


class Normless(nnx.Module):
    def __init__(self, num_classes, rngs):
        self.conv = nnx.Conv(1, 4, (3, 3), strides=2, rngs=rngs)
        self.drop = nnx.Dropout(0.1, rngs=rngs)
        self.dense = nnx.Linear(64, num_classes, rngs=rngs)

    def __call__(self, x):
        return self.dense(self.drop(nnx.relu(self.conv(x))).reshape(len(x), -1))


class Pair(nn.Module):
    @nn.compact
    def __call__(self, x):
        return x, x


def linen(num_classes):
    return Network(num_classes)


def of_nnx(num_classes):
    return Normless(num_classes, nnx.Rngs(0))


def fails(num_classes):
    raise RuntimeError("no such weights")


def gives_text(num_classes):
    return "network"


def gives_pair(num_classes):
    return Pair()


def other_classes(num_classes):
    return Network(num_classes + 1)
"""


@pytest.fixture
def user(tmp_path, monkeypatch):
    """Where the user is: an empty folder but for networks, the name of which is returned."""
    name = f"networks_{tmp_path.name}"
    (tmp_path / f"{name}.py").write_text(NETWORKS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return name


@pytest.fixture
def command(user, run_command_line):
    def run(network, *arguments, **fields):
        changes = [f"--config.{name}={value}" for name, value in {**TINY, **fields}.items()]
        arguments = ["--config", CONFIG, "--network", f"{user}:{network}", *changes, *arguments]
        return run_command_line(where.main, arguments)

    return run


def said(text, name):
    return re.search(rf"^{name} +(.*)$", text, re.MULTILINE)[1]


@pytest.mark.parametrize(
    ("network", "place"), [("linen", "Block_0/Conv_0:in"), ("of_nnx", "dense:in")]
)
def test_a_race_of_a_users_network(command, rows_in, tmp_path, network, place):
    folder = tmp_path / "run"
    found = command(network, f"--workdir={folder}", places=place)
    assert found.status == 0, found.err
    rows = rows_in(folder)
    assert len(rows) == 6  # none and one arm, three seeds
    assert {row["placement"] for row in rows} == {"none", f"{place}=0.3"}
    # Each seed has weights of its own.
    assert len({row["digest"] for row in rows}) == 6
    assert (folder / "where.png").stat().st_size > 10_000
    assert place in (folder / "where.md").read_text()
    assert ("no probe" in found.out) == (network == "of_nnx")
    # What is finished is not trained again, and the answer is the same.
    again = command(network, f"--workdir={folder}", places=place)
    assert rows_in(folder) == rows
    assert again.out.partition("verdict")[2] == found.out.partition("verdict")[2]


def test_a_finished_race_is_shown_on_a_disk_that_is_read_only_and_probed(
    command, tmp_path, monkeypatch, capsys
):
    folder = tmp_path / "run"
    found = command("linen", f"--workdir={folder}", places="Block_0/Conv_0:in")
    assert main_of_probe(["--run", str(folder), "--cell", "none-seed0", "--batch", "16"]) == 0
    cell = ["--cell", "Block_0.Conv_0:in=0.3-seed0", "--batch", "16"]
    assert main_of_probe(["--run", str(folder), *cell]) == 0
    assert "Block_0/Conv_0:in shifts no batch norm" in capsys.readouterr().out
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: not mode & os.W_OK and access(path, mode))
    shown = command("linen", f"--workdir={folder}", places="Block_0/Conv_0:in")
    assert (shown.status, shown.err) == (0, "")
    assert shown.out.partition("verdict")[2].strip() in found.out
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before
    more = command("linen", f"--workdir={folder}", places="Block_0/Conv_0:in", seeds=4)
    assert more.status == 2
    assert more.err.startswith("error: workdir: cannot write")


@pytest.mark.slow
def test_a_race_that_is_killed_goes_on_to_the_same_bits(digests_in, user, tmp_path):
    fields = {**TINY, "places": "Block_0/Conv_0:in", "seeds": 4}
    arguments = ["--config", CONFIG, "--network", f"{user}:linen"]
    arguments += [f"--config.{name}={value}" for name, value in fields.items()]
    root = str(pathlib.Path(CONFIG).parents[1])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((root, str(tmp_path)))}

    def start(name):
        return subprocess.Popen(
            [sys.executable, "-m", "benchmarks.where", *arguments, f"--workdir={tmp_path / name}"],
            env=environment,
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    ledger = tmp_path / "killed" / "ledger.jsonl"
    for cells in (1, 4):  # within the first round, and within a later one
        with start("killed") as process:
            while not ledger.exists() or ledger.read_bytes().count(b"\n") < cells:
                assert process.poll() is None, process.communicate()[1]
                time.sleep(0.01)
            process.kill()
    answers = []
    for name in ("killed", "whole"):
        with start(name) as process:
            out, complaint = process.communicate()
        assert process.returncode == 0, complaint
        answers.append(out.partition("verdict")[2].partition("ledger")[0])
    assert digests_in(tmp_path / "killed") == digests_in(tmp_path / "whole")
    assert answers[0] == answers[1]


def test_a_dry_run_lists_places_and_arms_and_writes_nothing(command, tmp_path):
    before = set(tmp_path.iterdir())
    found = command("linen", "--dry_run", "--workdir", "run", "--time_budget", "3m")
    assert found.status == 0
    assert re.search(r"^Block_0/BatchNorm_0:out +1 ", found.out, re.MULTILINE)
    assert said(found.out, "cells").startswith("10 in the first round")
    assert said(found.out, "budget").startswith("3 minutes")
    assert {path for path in tmp_path.iterdir() if path.name != "__pycache__"} == before


@pytest.mark.parametrize(
    ("network", "fields", "words"),
    [
        ("fails", {}, "network: .* failed, RuntimeError: no such weights"),
        ("gives_text", {}, "network: .* must return .* got str"),
        ("gives_pair", {}, "network: must give logits .* gives a tuple"),
        ("other_classes", {}, r"network: must give logits \[N, 10\], .* gives \[2, 11\]"),
        ("absent", {}, "network: .* has no function 'absent', it has .*linen"),
        ("linen", {"places": "Block_*/Convv_0:in"}, "places: .*near it are .*Block_0/Conv_0:in"),
        ("linen", {"batch": 1}, "batch: must be at least 2, got 1"),
        ("linen", {"rates": 1.5}, "rates: must be one or more in"),
        ("linen", {"margin": 0.0}, "margin: must be in"),
        ("linen", {"seeds": 65}, "seeds: must be in"),
    ],
)
def test_what_the_user_got_wrong_is_said_in_a_line(command, network, fields, words):
    found = command(network, "--dry_run", **fields)
    assert found.status == 2
    assert found.err.count("\n") == 1
    assert re.search(words, found.err), found.err


def test_a_module_that_is_not_there_and_no_network_at_all(run_command_line, user):
    for arguments, words in (
        (["--network", "absent_module:make"], "network: absent_module cannot be imported"),
        (["--network", user], "network: must be package.module:factory"),
        ([], "network: must be given"),
    ):
        found = run_command_line(where.main, ["--config", CONFIG, *arguments])
        assert (found.status, found.err.count("\n")) == (2, 1)
        assert words in found.err


@pytest.mark.parametrize("name", ["linen", "of_nnx"])
def test_a_seed_has_its_weights_and_an_edited_network_is_another_one(user, name):
    network = find_network(f"{user}:{name}", 10, (8, 8, 1))
    x = np.ones((1, 8, 8, 1), np.float32)
    weights = [
        jax.tree.leaves(initial_variables(network, jax.random.key(seed), x)["params"])
        for seed in (0, 0, 1)
    ]
    assert all(map(np.array_equal, weights[0], weights[1]))
    assert not all(map(np.array_equal, weights[0], weights[2]))
    again = find_network(f"{user}:{name}", 10, (8, 8, 1))
    fewer = find_network(f"{user}:{name}", 9, (8, 8, 1))
    assert digest(network, (8, 8, 1)) == digest(again, (8, 8, 1)) != digest(fewer, (8, 8, 1))


def test_arms_have_names_of_their_own_that_a_path_can_have():
    arms = racing.make_arms(["a/*:in", "a/[0-1]:in", "a.x:in", "b:out"], [0.1, 0.3])
    names = [arm.variant for arm in arms]
    assert len(set(names)) == len(arms) == 8
    assert all(re.fullmatch(r"[\w.:=+-]+", name) for name in names)
    assert str(arms[0].placement) == "a/*:in=0.1"


def test_the_first_round_begins_where_least_is_shifted():
    arms = racing.make_arms(["p", "q"], [0.1, 0.3])
    assert racing.order_of_ranking(arms, {"p": 0.5, "q": 0.1}) == [2, 0, 3, 1]
