"""What every study has in common."""

import importlib
import pathlib

import pytest

ROOT = pathlib.Path(__file__).parents[2]
STUDIES = {
    study.name: study
    for path in sorted((ROOT / "benchmarks").glob("*.py"))
    if (study := getattr(importlib.import_module(f"benchmarks.{path.stem}"), "STUDY", None))
}


def test_all_are_found():
    assert STUDIES.keys() >= {"preresnet", "vgg_depth", "pooling", "head", "transfer", "pretrain"}


@pytest.mark.parametrize("name", STUDIES)
def test_help_says_what_it_answers_and_how_to_ask(name, run_study):
    found = run_study(STUDIES[name], "--help")
    assert found.status == 0
    assert found.out.startswith(STUDIES[name].question)
    assert f"python -m benchmarks.{name} --config {STUDIES[name].example}" in found.out
    for field in STUDIES[name].settings.config():
        assert f"{field}:" in found.out


@pytest.mark.parametrize("name", STUDIES)
def test_its_example_is_a_config_of_it(name):
    file, _, form = STUDIES[name].example.partition(":")
    module = importlib.import_module(f"configs.{pathlib.Path(file).stem}")
    STUDIES[name].settings.of(module.get_config(*[form] if form else []))


@pytest.mark.parametrize("name", STUDIES)
def test_without_a_config_an_example_is_given(name, run_study):
    found = run_study(STUDIES[name])
    assert found.status == 2
    expected = f"error: --config is missing, for example --config {STUDIES[name].example}\n"
    assert found.err == expected


@pytest.mark.parametrize("name", STUDIES)
def test_an_unknown_field_and_a_field_of_another_type(name, run_study):
    example = f"--config={STUDIES[name].example}"
    unknown = run_study(STUDIES[name], example, "--config.rats=1")
    assert unknown.status == 2
    assert unknown.err.startswith("error: rats: unknown field, choose one of ")
    wrong = run_study(STUDIES[name], example, "--config.epochs=many")
    assert wrong.status == 2
    assert wrong.err.count("\n") == 1
    assert "epochs" in wrong.err
