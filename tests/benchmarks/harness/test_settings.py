import importlib
import math
import pathlib

import ml_collections
import pytest

from benchmarks.harness.settings import Settings
from benchmarks.preresnet import PreResNetSettings
from flaxdrop.training.recipe import Recipe

CONFIGS = sorted(path.stem for path in (pathlib.Path(__file__).parents[3] / "configs").glob("*.py"))


def config_of(**fields):
    config = PreResNetSettings.config()
    config.update({"dataset": "digits", "epochs": 2, "batch": 20, "depth": 8, **fields})
    return config


def test_what_is_not_said_has_its_default():
    settings = PreResNetSettings.of(config_of(seeds=5))
    assert settings == PreResNetSettings(dataset="digits", epochs=2, batch=20, depth=8, seeds=5)
    recipe = Recipe(epochs=2, batch=20)
    assert {name: getattr(settings, name) for name in vars(recipe)} == vars(recipe)


def test_numbers_widen():
    settings = PreResNetSettings.of(config_of(rate=1, std=[1], mean=[0], widths=[4, 8, 8]))
    assert (settings.rate, settings.std, settings.widths) == (1.0, (1.0,), (4, 8, 8))
    assert isinstance(settings.rate, float)
    assert isinstance(settings.std[0], float)


def test_a_single_number_is_a_tuple_of_one():
    plain = ml_collections.ConfigDict({**config_of().to_dict(), "widths": 4, "depth": 6})
    assert PreResNetSettings.of(plain).widths == (4,)


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("depth", 8.0, "int"),
        ("depth", True, "int"),
        ("depth", "8", "int"),
        ("rate", "0.1", "float"),
        ("rate", True, "float"),
        ("flip", 1, "bool"),
        ("dataset", 3, "str"),
        ("widths", (4, 8.5), r"tuple\[int, \.\.\.\]"),
        ("widths", (4, True), r"tuple\[int, \.\.\.\]"),
        ("widths", "4-8", r"tuple\[int, \.\.\.\]"),
        ("decay_at", ("half",), r"tuple\[float, \.\.\.\]"),
    ],
)
def test_another_type(field, value, expected):
    plain = ml_collections.ConfigDict({**config_of().to_dict(), field: value})
    with pytest.raises(ValueError, match=f"^{field}: must be of type {expected}, got"):
        PreResNetSettings.of(plain)


def test_an_unknown_field():
    plain = ml_collections.ConfigDict({**config_of().to_dict(), "dept": 8})
    with pytest.raises(ValueError, match=r"^dept: unknown field, choose one of epochs, .*depth"):
        PreResNetSettings.of(plain)
    with pytest.raises(AttributeError, match="dept"):
        PreResNetSettings.config().dept = 8


@pytest.mark.parametrize("field", ["dataset", "epochs", "batch", "depth"])
def test_a_field_that_must_be_said(field):
    values = {"dataset": "digits", "epochs": 2, "batch": 20, "depth": 8}
    del values[field]
    config = PreResNetSettings.config()
    config.update(values)
    with pytest.raises(ValueError, match=f"^{field}: missing in the config$"):
        PreResNetSettings.of(config)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("", None), ("90", 90), ("90s", 90), ("8m", 480), ("1.5h", 5400), (" 2h ", 7200), ("0s", 0)],
)
def test_time_budget(text, seconds):
    assert PreResNetSettings.of(config_of(time_budget=text)).budget_seconds == seconds


@pytest.mark.parametrize("text", ["soon", "-8m", "8 minutes", "m", "8d", "nan", "1e3"])
def test_time_budget_that_is_none(text):
    with pytest.raises(ValueError, match=r"^time_budget: must be like 90s, 8m or 2h, got"):
        PreResNetSettings.of(config_of(time_budget=text))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("variants", "none,p6"),
        ("seeds", 9),
        ("devices", 1),
        ("devices_per_cell", 2),
        ("checkpoint_seconds", 1.0),
        ("time_budget", "8m"),
        ("data_dir", "/elsewhere"),
    ],
)
def test_a_run_may_grow_and_move(field, value):
    assert (
        PreResNetSettings.of(config_of(**{field: value})).identity()
        == PreResNetSettings.of(config_of()).identity()
    )


def test_whatever_changes_a_cell_is_part_of_its_identity():
    base = PreResNetSettings.of(config_of()).identity()
    others = {
        "dataset": "cifar10",
        "image_size": 16,
        "train_examples": 100,
        "test_examples": 100,
        "precision": "float32",
        "cells_per_device": 2,
        "dropout_schedule": "late",
        "dropout_switch": 0.3,
        "depth": 14,
        "block": "bottleneck",
        "widths": (4, 8, 8),
        "rate": 0.2,
        "mask": "channel",
        "epochs": 3,
        "batch": 10,
        "optimizer": "adam",
        "learning_rate": 0.2,
        "schedule": "cosine",
        "decay_at": (0.3,),
        "decay": 0.2,
        "momentum": 0.5,
        "nesterov": True,
        "weight_decay": 0.0,
        "crop": 1,
        "flip": True,
        "mean": (0.5,),
        "std": (0.5,),
    }
    assert others.keys() == base.keys()
    together = {"mean": {"std": (0.5,)}, "std": {"mean": (0.5,)}, "block": {"depth": 11}}
    for field, value in others.items():
        changed = PreResNetSettings.of(config_of(**{field: value, **together.get(field, {})}))
        assert changed.identity()[field] != base[field]


def test_rate_is_checked_where_it_is_made():
    for rate in (-0.1, 1.1, math.nan):
        with pytest.raises(ValueError, match=r"^rate: must be in \[0, 1\], got"):
            PreResNetSettings(dataset="digits", epochs=1, batch=1, depth=8, rate=rate)


@pytest.mark.parametrize("name", CONFIGS)
def test_configs_say_nothing_wrong_and_how_to_run_them(name):
    module = importlib.import_module(f"configs.{name}")
    assert f"--config configs/{name}.py" in module.__doc__
    config = module.get_config()
    studies = [kind for kind in kinds_of_settings() if set(config) == fields_of(kind)]
    assert studies
    studies[0].of(config)


def kinds_of_settings():
    return Settings.__subclasses__()


def fields_of(kind):
    return set(kind.config())
