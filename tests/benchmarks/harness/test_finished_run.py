import json
import shutil
import sys

import jax
import pytest

from benchmarks import probe
from benchmarks.harness import catalog
from benchmarks.harness.finished_run import open_run
from flaxdrop.results.provenance import digest

TEMPLATES = catalog._FOLDER / "templates"
SMALL = ("epochs=1", "seeds=1", "train_examples=50", "test_examples=50", "units=4")


def test_a_trained_cell_loads_in_three_lines(trained_table):
    run = open_run(str(trained_table))
    model, variables, placement = run.load("p6-seed0")
    logits = jax.jit(model.apply)(variables, run.batch(8))

    assert logits.shape == (8, 10)
    assert str(placement) == "p6=0.5"
    assert digest(variables) == run.row("p6-seed0").digest


@pytest.fixture
def own_study(tmp_path, monkeypatch):
    """A study in a folder of its own, made from the template as the documentation says."""
    text = (TEMPLATES / "study.py").read_text().replace('"templates.study"', '"mine"')
    (tmp_path / "my_study.py").write_text(text)
    text = (TEMPLATES / "config.py").read_text().replace("benchmarks.templates.study", "my_study")
    (tmp_path / "my_config.py").write_text(text)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield tmp_path / "my_study.py"
    sys.modules.pop("my_study", None)


def test_a_study_in_a_file_of_its_own_is_read_from_its_folder(
    own_study, run_study, tmp_path, capsys
):
    study = catalog.load_study("mine", str(own_study))
    assert catalog.command_of(study) == f"python {own_study}"
    folder = tmp_path / "run"
    changes = [f"--config.{change}" for change in SMALL]
    config = own_study.with_name("my_config.py")
    found = run_study(study, "--config", config, "--workdir", folder, *changes)
    assert found.status == 0, found.err
    assert probe.main(["--run", str(folder), "--cell", "dense 0.5-seed0", "--batch", "16"]) == 2
    assert "batch norm" in capsys.readouterr().err  # the network of the template has none
    assert set(open_run(str(folder)).plan.every_variant) == {"none", "dense 0.2", "dense 0.5"}

    moved = shutil.move(own_study, own_study.with_name("moved.py"))
    with pytest.raises(ValueError, match=r"^run: .*my_study\.py is gone$"):
        open_run(str(folder))
    settings = folder / "settings.json"
    settings.write_text(json.dumps(json.loads(settings.read_text()) | {"source": str(moved)}))
    assert len(open_run(str(folder)).rows) == 3


def test_a_file_that_is_no_study_is_said_in_one_line(tmp_path):
    (tmp_path / "other.py").write_text("1 / 0")
    with pytest.raises(ValueError, match=r"^study: .*other.py must define STUDY: division by zero"):
        catalog.load_study("other", str(tmp_path / "other.py"))
