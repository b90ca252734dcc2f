"""The contract of a study: every one in the list keeps it, and so does the template."""

import importlib
import json
import pathlib
import sys
import typing

import pytest

from benchmarks.harness import catalog
from benchmarks.harness.plan import Plan
from benchmarks.harness.variants import families
from flaxdrop.results.provenance import config_hash

ROOT = pathlib.Path(__file__).parents[2]
# A new study is in them as soon as it is in the list.
STUDIES = {
    name: importlib.import_module(f"benchmarks.{name}").STUDY
    for name in (*catalog.STUDIES, "templates.study")
}
CLASSES = 10


@pytest.fixture(params=STUDIES)
def study(request):
    """A study of the list."""
    assert STUDIES[request.param].name == request.param
    return STUDIES[request.param]


@pytest.fixture
def settings(study):
    """The settings of its example."""
    return catalog.load_settings(study, study.example)


def test_the_list_has_everything_that_can_be_run():
    files = {path.stem for path in (ROOT / "benchmarks").glob("*.py")} - {"__init__", "__main__"}
    listed = {*catalog.STUDIES, *(tool.partition(".")[0] for tool in catalog.TOOLS)}
    assert files | {"throughput"} == listed


@pytest.mark.parametrize("name", [*catalog.STUDIES, *catalog.TOOLS])
def test_everything_in_the_list_says_its_question_and_an_example(name):
    question, example = catalog.about(name)
    assert question.endswith(("?", "."))
    assert example.startswith(f"python -m benchmarks.{name}")


def test_a_docstring_without_its_command_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(catalog, "_FOLDER", tmp_path)
    (tmp_path / "mine.py").write_text('"""Which one?\n\n    python -m benchmarks.study\n"""\n')
    with pytest.raises(ValueError, match=r"mine\.py: .*`python -m benchmarks\.mine "):
        catalog.about("mine")


def test_its_docstring_has_its_question_and_example(study):
    command = f"python -m benchmarks.{study.name} --config {study.example}"
    assert catalog.about(study.name) == (study.question, command)


def test_help_says_what_it_answers_and_how_to_ask(study, run_study):
    found = run_study(study, "--help")
    assert found.status == 0
    assert found.out.startswith(study.question)
    assert f"python -m benchmarks.{study.name} --config {study.example}" in found.out
    for field in study.settings.config():
        assert f"{field}:" in found.out


def test_its_variants_fit_their_networks(study, settings):
    variants = study.variants(settings, CLASSES)
    grouped = families(variants)  # refuses a slot that a network lacks
    assert sorted(name for family in grouped for name in family.placements) == sorted(variants)
    assert study.baseline in variants
    assert study.published(settings).keys() <= variants.keys()
    assert all(0 < value < 1 for value in study.published(settings).values())
    for group in study.same:
        models = [variants[name].model for name in group if name in variants]
        assert all(model == models[0] for model in models)


def test_what_it_measures_and_finds_is_typed(study):
    for function in filter(None, (study.measure, study.findings)):
        assert typing.get_type_hints(function)["plan"] == Plan[study.settings]


def test_its_config_can_be_written_down_and_read_again(study, settings):
    identity = json.loads(json.dumps(settings.identity()))
    again = study.settings.of(typing.cast("typing.Any", identity))
    assert config_hash(again.identity()) == config_hash(settings.identity())


def test_a_dry_run_of_its_example_needs_no_download(study, run_study, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    arguments = ("--config", study.example, "--workdir", tmp_path / "run", "--dry_run")
    found = run_study(study, *arguments, f"--config.data_dir={tmp_path}")
    assert found.status == 0
    said = dict(line.split(maxsplit=1) for line in found.out.splitlines())
    assert said["study"] == f"{study.name}: {study.question}"
    assert said["estimate"]
    assert not list(tmp_path.iterdir())


def test_without_a_config_an_example_is_given(study, run_study):
    found = run_study(study)
    assert found.status == 2
    assert found.err == f"error: --config is missing, for example --config {study.example}\n"


def test_an_unknown_field_and_a_field_of_another_type(study, run_study):
    unknown = run_study(study, f"--config={study.example}", "--config.rats=1")
    assert unknown.status == 2
    assert unknown.err.startswith("error: rats: unknown field, choose one of ")
    wrong = run_study(study, f"--config={study.example}", "--config.epochs=many")
    assert wrong.status == 2
    assert wrong.err.count("\n") == 1
    assert "epochs" in wrong.err


def test_the_template_runs_to_its_end(run_study, tmp_path, rows_in):
    study = STUDIES["templates.study"]
    fields = {"epochs": 1, "seeds": 1, "train_examples": 50, "test_examples": 50, "units": 4}
    changes = [f"--config.{name}={value}" for name, value in fields.items()]
    found = run_study(study, f"--config={study.example}", f"--workdir={tmp_path}", *changes)
    assert found.status == 0
    assert len(rows_in(tmp_path)) == 3
    assert "\nbest      " in found.out
