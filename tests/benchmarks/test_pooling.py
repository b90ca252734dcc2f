"""The pooling study declares its eight variants, and shows what is exact and what is measured."""

import pathlib
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks.harness.variants import families
from benchmarks.pooling import STUDY, PoolingSettings, facts, variants

CONFIG = str(pathlib.Path(__file__).parents[2] / "configs" / "pooling_digits.py")
SHORT = ["--config.widths=(3,)", "--config.units=8", "--config.image_size=0"]
SHORT += ["--config.train_examples=60", "--config.test_examples=50", "--config.epochs=1"]
SHORT += ["--config.batch=20", "--config.seeds=1"]
EIGHT = [
    f"{pooling} {mask} {order}"
    for pooling in ("max", "average")
    for mask in ("element", "channel")
    for order in ("before", "after")
]


def settings_of(**fields):
    return PoolingSettings(**{"dataset": "cifar10", "epochs": 1, "batch": 1, **fields})


def test_there_are_eight_variants_of_two_networks():
    eight = variants(settings_of(rate=0.3, dense_rate=0.6), 10)
    assert list(eight) == EIGHT
    for name, variant in eight.items():
        pooling, mask, order = name.split()
        assert variant.model.pooling == pooling
        words = "" if mask == "element" else ":channel"
        assert str(variant.placement) == f"{order}_pool=0.3{words},dense=0.6"
    # A program has one mask at a slot: element and channel are compiled apart.
    assert [list(family.placements) for family in families(eight)] == [
        EIGHT[i : i + 2] for i in (0, 2, 4, 6)
    ]


def test_channel_wise_the_two_orders_are_one_network():
    assert STUDY.same == tuple(tuple(EIGHT[i + 1 : i - 1 or None : -1]) for i in (2, 6))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("widths", ()),
        ("widths", (8, 0)),
        ("units", 0),
        ("rate", 1.0),
        ("rate", -0.1),
        ("rate", float("nan")),
        ("dense_rate", 1.1),
    ],
)
def test_a_field_out_of_range_is_named_in_one_line(field, value):
    with pytest.raises(ValueError, match=rf"^{field}: must be .*, got .*$"):
        settings_of(**{field: value})


def test_facts_stand_beside_their_closed_forms_and_agree():
    """Twelve pairs; with a right closed form one in 10^5 such tables fails."""
    table = facts(
        jax.nn.relu(jnp.asarray(np.random.RandomState(0).randn(4, 8, 8, 4), jnp.float32)), 0.25
    )
    assert [row[0] for row in table.cells] == EIGHT[:2] + EIGHT[4:6]
    for row in table.cells:
        for words in row[1:4]:
            value, error, form = map(
                float, re.fullmatch(r"(\S+) ± (\S+) \((\S+)\)", words).groups()
            )
            # One digit of the error is printed: it may be a third larger.
            assert abs(value - form) <= 1.5 * 5.5 * error + 1e-4
    assert [note.count("equal to the bit") for note in table.notes[1:]] == [1, 2]


def test_it_runs_to_its_end(run_study, tmp_path):
    folder = tmp_path / "run"
    names = ",".join(EIGHT[6:])  # one program
    outcome = run_study(
        STUDY, "--config", CONFIG, *SHORT, f"--config.variants={names}", f"--workdir={folder}"
    )
    assert outcome.status == 0, outcome.err
    assert "Channel-wise at rate 0.5" in outcome.out
    for file in ("table.md", "positions.png", "curves.png", "facts.md"):
        assert (folder / file).stat().st_size > 0
    table = (folder / "table.md").read_text()
    assert all(f"| {name} | 1" in table for name in EIGHT[6:])
    assert "average channel before - average channel after" in table


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("--config.image_size=15", "image_size: must be at least 16 for 2 blocks, got 15x15"),
        ("--config.variants=max", "variants: unknown 'max', choose among max element before, "),
        ("--config.rate=1.0", "rate: must be in [0, 1), got 1.0"),
        ("--config.decay=0.0", "decay: must be in (0, 1], got 0.0"),
    ],
)
def test_a_mistake_is_one_line_and_writes_nothing(run_study, tmp_path, argument, message):
    folder = tmp_path / "run"
    outcome = run_study(STUDY, "--config", CONFIG, argument, f"--workdir={folder}")
    assert outcome.status == 2
    assert outcome.err.startswith(f"error: {message}")
    assert outcome.err.count("\n") == 1
    assert not folder.exists()


def test_images_of_100_pixels_are_accepted(run_study, tmp_path):
    outcome = run_study(
        STUDY,
        *("--config", CONFIG, "--config.image_size=100", "--config.widths=(32,64)", "--dry_run"),
        *("--config.units=256", "--config.test_examples=20", f"--workdir={tmp_path / 'run'}"),
    )
    assert outcome.status == 0
    # The question's 7,998,250 but for the two channels that digits lack.
    assert f"{7_998_250 - 2 * 9 * 32:,} parameters" in outcome.out


def test_help_says_what_it_answers(run_study):
    outcome = run_study(STUDY, "--help")
    assert outcome.status == 0
    assert outcome.out.startswith("Dropout before or after pooling")
    assert "dense_rate" in outcome.out
