import jax
import numpy as np
import pytest

from benchmarks.harness.variants import families
from benchmarks.preresnet import PreResNetSettings
from benchmarks.schedules import STUDY, variants
from flaxdrop.schedule import DROPOUT_SCHEDULES

SHORT = ["--config=configs/schedules_digits.py", "--config.epochs=4", "--config.train_examples=60"]
SHORT += ["--config.test_examples=50", "--config.seeds=1", "--config.widths=(4,)"]
SHORT += ["--config.depth=6", "--config.batch=20", "--config.dropout_switch=0.5"]


@pytest.fixture(scope="module")
def settings():
    return PreResNetSettings(dataset="digits", epochs=1, batch=1, depth=14, rate=0.4)


def test_one_program_trains_all_of_them(settings):
    [family] = families(variants(settings, 10))
    assert set(family.placements) == {"none", *DROPOUT_SCHEDULES, "over depth"}
    cells = [family.cell(name, seed=0) for name in family.placements]
    shapes = [jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), cell) for cell in cells]
    assert all(shape == shapes[0] for shape in shapes)


def test_over_depth_ends_at_the_rate(settings):
    [family] = families(variants(settings, 10))
    rates = np.asarray(family.placements["over depth"].rate("p6"))
    np.testing.assert_allclose(rates, np.linspace(0, 0.4, 6), atol=1e-7)


def test_the_recipes_schedule_is_that_of_variants_without_one(settings):
    [family] = families(variants(settings, 10), "late")
    assert family.schedules["none"] == "late"
    assert family.schedules["over depth"] == "constant"


def test_it_runs_to_its_end(run_study, tmp_path, rows_in):
    folder = tmp_path / "run"
    found = run_study(STUDY, *SHORT, f"--workdir={folder}")
    assert found.status == 0
    assert (folder / "schedules.png").stat().st_size > 10_000
    digests = {row["variant"]: row["digest"] for row in rows_in(folder)}
    assert len(set(digests.values())) == len(digests) == len(DROPOUT_SCHEDULES) + 2
    curves = {row["variant"]: row["curve"]["train_loss"] for row in rows_in(folder)}
    # Up to its switch, after two of four epochs, "late" is "none".
    assert curves["late"][:2] == curves["none"][:2]
    assert curves["late"][2] != curves["none"][2]
    assert curves["early"][0] != curves["constant"][0]


@pytest.mark.parametrize(
    ("argument", "words"),
    [
        ("--config.dropout_switch=1.0", "dropout_switch: must be in (0, 1), got 1.0"),
        ("--config.dropout_schedule=never", "dropout_schedule: must be one of constant, linear,"),
    ],
)
def test_mistakes_are_one_line(run_study, tmp_path, argument, words):
    found = run_study(STUDY, *SHORT, argument, f"--workdir={tmp_path / 'none'}")
    assert found.status == 2
    assert found.err.startswith(f"error: {words}")
    assert found.err.count("\n") == 1
