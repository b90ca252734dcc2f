"""The block depth study declares the post's table, and runs to its end on the digits."""

import pathlib

import pytest

from benchmarks import probe
from benchmarks.harness.variants import families
from benchmarks.vgg_depth import PUBLISHED, STUDY, VGGSettings, published, variants

CONFIG = str(pathlib.Path(__file__).parents[2] / "configs" / "vgg_digits.py")
# One block, so that the images may stay as they are.
SHORT = ["--config.image_size=0", "--config.widths=(4,)", "--config.units=8"]
SHORT += ["--config.train_examples=60", "--config.test_examples=50", "--config.epochs=2"]
SHORT += ["--config.batch=20", "--config.seeds=2"]


def settings_of(**fields):
    return VGGSettings(**{"dataset": "cifar10", "epochs": 1, "batch": 1, **fields})


def test_the_variants_are_those_of_the_post():
    assert list(variants(settings_of(), 10)) == list(PUBLISHED)
    assert len(PUBLISHED) == 20


def test_twenty_variants_are_four_networks():
    of_one = families(variants(settings_of(), 10))
    assert [len(family.placements) for family in of_one] == [1, 13, 1, 5]
    assert [family.model.batch_norm for family in of_one] == [False, True, True, True]
    assert [family.model.widths[0] for family in of_one] == [64, 64, 32, 64]
    assert [family.model.units for family in of_one] == [512, 512, 512, 1024]


@pytest.mark.parametrize(
    ("variant", "placement"),
    [
        ("BN", "none"),
        ("conv 0.2 + dense 0.5", "conv1=0.2,conv2=0.2,conv3=0.2,dense=0.5"),
        ("twice the units + dense 0.75", "dense=0.75"),
        ("block 2 only 0.5", "conv2=0.5"),
    ],
)
def test_a_variant_is_what_its_name_says(variant, placement):
    assert str(variants(settings_of(), 10)[variant].placement) == placement


def test_published_numbers_stand_beside_their_dataset_alone():
    assert published(settings_of()) == PUBLISHED
    for other in ("digits", "cifar100", "folder:images"):
        assert published(settings_of(dataset=other)) == {}


@pytest.mark.parametrize(
    ("field", "value"),
    [("widths", ()), ("widths", (8, 3)), ("widths", (0,)), ("units", 0), ("norm_momentum", 1.0)],
)
def test_a_field_out_of_range_is_named_in_one_line(field, value):
    with pytest.raises(ValueError, match=rf"^{field}: must be .*, got .*$"):
        settings_of(**{field: value})


@pytest.mark.slow
def test_it_runs_to_its_end_and_is_probed(run_study, tmp_path, capsys):
    folder = tmp_path / "run"
    names = "no BN,BN,conv 0.2,dense 0.5,block 1 only 0.2,block 1 only 0.5"
    outcome = run_study(
        STUDY, "--config", CONFIG, *SHORT, f"--config.variants={names}", f"--workdir={folder}"
    )
    assert outcome.status == 0, outcome.err
    assert "[12/12]" in outcome.out + outcome.err
    for file in ("table.md", "positions.png", "curves.png", "depth.png"):
        assert (folder / file).stat().st_size > 0
    assert f"by depth  {folder / 'depth.png'}" in outcome.out
    table = (folder / "table.md").read_text()
    assert all(f"| {name} | 2" in table for name in names.split(","))
    assert probe.main(["--run", str(folder), "--batch", "32", "--masks", "2"]) == 0
    said = capsys.readouterr().out
    assert "no BN has no batch norm, nothing to shift: left out." in said
    shifted = [line for line in said.splitlines() if line.startswith(("conv ", "dense ", "block "))]
    assert len(shifted) == 4


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("--config.image_size=8", "image_size: must be at least 22 for 3 blocks, got 8x8"),
        ("--config.variants=none", "variants: unknown 'none', choose among no BN, BN, conv 0.2"),
        ("--config.widths=(3,)", "widths: must be one even number or more, got (3,)"),
        ("--config.depth=20", "depth: unknown field, choose one of epochs, "),
        ("--config.mean=(0.5,0.5)", "std: must be one value for each of mean, got (1.00"),
    ],
)
def test_a_mistake_is_one_line_and_writes_nothing(run_study, tmp_path, argument, message):
    folder = tmp_path / "run"
    outcome = run_study(STUDY, "--config", CONFIG, argument, f"--workdir={folder}")
    assert outcome.status == 2
    assert outcome.err.startswith(f"error: {message}")
    assert outcome.err.count("\n") == 1
    assert not folder.exists()


def test_help_says_what_it_answers(run_study):
    outcome = run_study(STUDY, "--config", CONFIG, "--help")
    assert outcome.status == 0
    assert outcome.out.startswith("At which depth of a VGG-like network does dropout help")
    assert "norm_momentum" in outcome.out
