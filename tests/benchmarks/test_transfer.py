"""Pretraining writes weights, the transfer study reads them and answers its question."""

import contextlib
import io
import json
import shutil

import jax
import numpy as np
import pytest

import flaxdrop.data
from benchmarks import pretrain, transfer
from benchmarks.findings.transfer import verdict
from benchmarks.harness.command import execute
from flaxdrop.models import DenseNet
from flaxdrop.results.effect import Effect
from flaxdrop.weights import load_pretrained

from .conftest import as_in_a_process_of_its_own

NETWORK = ["--config.layers=(1,1)", "--config.growth=4"]
SHORT = [*NETWORK, "--config.train_examples=60", "--config.test_examples=50"]
SHORT += ["--config.epochs=2", "--config.batch=20"]
PRETRAIN = ["--config=configs/pretrain_cifar100.py:tiny", "--config.image_size=32", *SHORT]
TRANSFER = ["--config=configs/transfer_digits.py", "--config.seeds=2", "--config.image_size=40"]
TRANSFER += ["--config.rates=0.5", "--config.cells_per_device=3", *SHORT]


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory):
    """Weights that the study of pretraining wrote."""
    folder = tmp_path_factory.mktemp("pretrained")
    digits = flaxdrop.data.load("digits").first(60, 50)
    splits = {f"x_{split}": getattr(digits, f"x_{split}") for split in ("train", "test")}
    rgb = {name: np.repeat(x, 3, axis=-1) for name, x in splits.items()}
    np.savez(folder / "rgb.npz", y_train=digits.y_train, y_test=digits.y_test, **rgb)
    command = [*PRETRAIN, f"--config.dataset=npz:{folder / 'rgb.npz'}"]
    with as_in_a_process_of_its_own():
        assert execute(pretrain.STUDY, ["pretrain", *command, f"--workdir={folder / 'run'}"]) == 0
    return folder / "run" / "densenet-seed0.safetensors"


@pytest.fixture(scope="module")
def finished(pretrained, tmp_path_factory):
    """Work folder and output of a whole run on these weights."""
    folder, said = tmp_path_factory.mktemp("finished") / "heads", io.StringIO()
    with as_in_a_process_of_its_own(), contextlib.redirect_stdout(said):
        command = [*TRANSFER, f"--config.weights={pretrained}", f"--workdir={folder}"]
        assert execute(transfer.STUDY, ["transfer", *command]) == 0
    return folder, said.getvalue()


@pytest.mark.slow
def test_weights_go_from_one_study_to_the_other(pretrained, finished, cells_in):
    heads, said = finished
    features = DenseNet((1, 1), num_classes=0, growth=4)
    kernel = load_pretrained(features, pretrained)["params"]["stem"]["kernel"]
    assert np.isfinite(kernel).all()

    variants = ("none", *(f"{place} 0.5" for place in transfer.PLACES))
    assert sorted(cells_in(heads)) == sorted((v, seed) for v in variants for seed in range(2))
    assert "before the classifier it raises accuracy" in said
    assert "averaged over 25 pixels" in (heads / "answer.md").read_text()
    assert "94.49" not in (heads / "table.md").read_text()
    assert "context, not numbers of these images" in (heads / "answer.md").read_text()
    assert (heads / "rates.png").stat().st_size > 10_000


def test_the_frozen_network_is_what_the_file_says():
    settings = {"dataset": "digits", "epochs": 1, "batch": 1, "layers": (1,), "growth": 4}
    model = transfer.frozen(transfer.TransferSettings(weights="untrained", **settings))
    again = transfer.frozen(transfer.TransferSettings(weights="untrained", **settings))
    jax.tree.map(np.testing.assert_array_equal, model.variables, again.variables)
    assert model.feature_shape((64, 64, 3)) == (16, 16, 12)


@pytest.mark.parametrize("dataset", ["digits", "cifar10", "folder:mine"])
def test_the_numbers_of_other_images_stand_beside_none(dataset):
    settings = {"dataset": dataset, "epochs": 1, "batch": 1, "weights": "untrained"}
    assert not transfer.STUDY.published(transfer.TransferSettings(**settings))


@pytest.mark.slow
def test_it_resumes_and_gives_the_same_bits(
    run_study, pretrained, finished, tmp_path, digests_in, cells_in
):
    once, twice = finished[0], shutil.copytree(finished[0], tmp_path / "twice")
    rows = (once / "ledger.jsonl").read_text().splitlines(keepends=True)
    (twice / "ledger.jsonl").write_text(
        "".join(row for row in rows if json.loads(row)["variant"] == "none")
    )
    assert cells_in(twice) == [("none", 0), ("none", 1)]
    shutil.rmtree(twice / "checkpoints")
    command = [*TRANSFER, f"--config.weights={pretrained}", f"--workdir={twice}"]
    assert run_study(transfer.STUDY, *command).status == 0
    assert digests_in(once) == digests_in(twice)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--config.weights="], "error: weights: must be a file, untrained or one of"),
        (["--config.weights=none.pth"], "error: weights none.pth: No such file"),
        (["--config.flip=True"], "error: flip: must be False, for the features are computed once"),
        (["--config.crop=4"], "error: crop: must be 0, for the features are computed once, got 4"),
        (["--config.rates=1.5"], "error: rates: must be one or more in [0, 1], got "),
        (["--config.layers=(0,)"], "error: layers: must be one number or more above 0, got "),
        (["--config.cells_per_device=0"], "error: cells_per_device: must be at least 1, got 0"),
    ],
)
def test_mistakes_are_one_line(run_study, tmp_path, arguments, words):
    found = run_study(transfer.STUDY, *TRANSFER, f"--workdir={tmp_path / 'none'}", *arguments)
    assert found.status == 2
    assert found.err.startswith(words)
    assert found.err.count("\n") == 1
    assert not (tmp_path / "none").exists()


def test_a_dry_run_computes_no_features(run_study, tmp_path, monkeypatch):
    monkeypatch.setattr(transfer.FrozenNetwork, "features", None)
    found = run_study(transfer.STUDY, *TRANSFER, f"--workdir={tmp_path / 'none'}", "--dry_run")
    assert found.status == 0
    assert "features of 5x5x" in found.out
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("mean", "variance", "sign", "word"),
    [
        (1.1, 0.01, 1, "holds"),
        (1.1, 0.01, -1, "does not hold"),
        (-1.1, 0.01, -1, "holds"),
        (0.2, 0.5, 1, "undecided"),
        (1.0, float("nan"), 1, "undecided"),  # one seed
    ],
)
def test_a_verdict_needs_an_interval_without_zero(mean, variance, sign, word):
    effect = Effect(mean, variance, 4, 0.0, a="a", b="b", measure="accuracy", n=(3, 3))
    assert verdict(effect, sign) == word
