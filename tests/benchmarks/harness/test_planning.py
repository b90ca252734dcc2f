"""What can be wrong is said before training."""

import dataclasses
import sys
from typing import ClassVar

import flax.linen as nn
import pytest

from benchmarks import pretrain
from benchmarks.harness.published_data import PUBLISHED, stand_in
from benchmarks.harness.variants import Variant
from benchmarks.preresnet import STUDY
from flaxdrop.placement import Placement


class Broken(nn.Module):
    """A network that fails when it is built."""

    slots: ClassVar = {}

    def __call__(self, x, **_):
        return x * (1 // len(x.shape[4:]))


def variants_of(error):
    def variants(settings, classes):
        del settings, classes
        raise error

    return variants


@pytest.fixture
def refused(folder, run_study):
    """Runs a study that must be refused; returns the one line that it says."""

    def run(study, *arguments):
        outcome = run_study(study, "--config", "tiny.py", "--workdir", "results", *arguments)
        assert outcome.status == 2
        assert outcome.err.startswith("error: ")
        assert outcome.err.count("\n") == 1
        assert not (folder / "results" / "ledger.jsonl").exists()
        return outcome.err.removeprefix("error: ")

    return run


@pytest.mark.parametrize("error", [TypeError("no number"), ZeroDivisionError("by zero")])
def test_what_variants_raise_is_the_fault_of_a_setting(refused, error):
    said = refused(dataclasses.replace(STUDY, variants=variants_of(error)))
    assert said.startswith("config: ")
    assert type(error).__name__ in said
    assert str(error) in said
    assert "test_planning.py, line " in said


def test_an_error_that_names_its_field_stays_as_it_is(refused):
    error = ValueError("blocks: must be at least 1, got 0")
    said = refused(dataclasses.replace(STUDY, variants=variants_of(error)))
    assert said == "blocks: must be at least 1, got 0\n"


def test_a_network_that_cannot_be_built_is_the_fault_of_a_setting(refused):
    def variants(settings, classes):
        del settings, classes
        return {name: Variant(Broken(), Placement()) for name in ("none", "p6")}

    said = refused(dataclasses.replace(STUDY, variants=variants))
    assert said.startswith("config: ")
    assert "ZeroDivisionError" in said


def test_a_missing_extra_is_asked_for_before_training(run_study, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "safetensors", None)
    example = ("--config", pretrain.STUDY.example, f"--workdir={tmp_path / 'none'}")
    outcome = run_study(pretrain.STUDY, *example, "--dry_run")
    assert outcome.status == 2
    assert outcome.err.startswith("error: safetensors: must be installed")
    assert 'pip install ".[pretrained]"' in outcome.err


@pytest.mark.parametrize("kind", ["foreign", "file"])
def test_a_dry_run_refuses_the_folder_that_a_run_refuses(refused, folder, kind):
    if kind == "file":
        (folder / "results").write_text("")
    else:
        (folder / "results").mkdir()
        (folder / "results" / "thesis.txt").write_text("")
    said = {refused(STUDY, *arguments) for arguments in ((), ("--dry_run",))}
    assert len(said) == 1
    assert said.pop().startswith("workdir: ")


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_dry_run_does_without_published_images(command, folder, monkeypatch, name):
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    arguments = (f"--config.dataset={name}", "--config.data_dir=nowhere", "--config.depth=4")
    outcome = command("--dry_run", *arguments)
    assert outcome.status == 0
    assert outcome.err.startswith("warning: ")
    assert 'pip install ".[tfds]"' in outcome.err
    assert "60 of 50,000 examples" in outcome.out
    assert "32x32x3" in outcome.out
    outcome = command(*arguments)
    assert outcome.status == 2
    assert 'pip install ".[tfds]"' in outcome.err
    assert [path.name for path in folder.iterdir()] == ["tiny.py"]


def test_a_stand_in_has_the_sizes_of_the_published_images():
    data = stand_in("cifar100", image_size=16, test_examples=100)
    assert data.x_train.shape == (50_000, 16, 16, 3)
    assert data.x_test.shape == (100, 16, 16, 3)
    assert (data.num_classes, data.digest) == (100, PUBLISHED["cifar100"])
