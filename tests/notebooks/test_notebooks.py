"""The notebooks run from top to bottom, in a short form, and write into their work folder alone."""

import pathlib
import subprocess

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = pathlib.Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").iterdir())


@pytest.fixture
def outputs(monkeypatch, tmp_path):
    """What the cells of a notebook give; its work folder is `tmp_path`."""
    monkeypatch.setenv("FLAXDROP_STEPS", "20")
    monkeypatch.setenv("FLAXDROP_HOME", str(tmp_path))

    def run(name, *overrides):
        words = ("seeds=3", "epochs=2", "train_examples=100", "batch=25", *overrides)
        monkeypatch.setenv("FLAXDROP_OVERRIDES", " ".join(f"--config.{word}" for word in words))
        notebook = nbformat.read(ROOT / "notebooks" / name, as_version=4)
        # It compiles more than it trains.
        hasty = "import jax; jax.config.update('jax_disable_most_optimizations', True)"
        notebook.cells.insert(0, nbformat.v4.new_code_cell(hasty))
        folder = str(ROOT / "notebooks")
        before = untracked()
        NotebookClient(notebook, timeout=300, resources={"metadata": {"path": folder}}).execute()
        assert untracked() == before
        return [output for cell in notebook.cells for output in cell.get("outputs", [])]

    return run


def untracked():
    if not (ROOT / ".git").exists():
        return sorted(path.name for path in ROOT.iterdir())
    command = ["git", "-C", str(ROOT), "status", "--porcelain", "--untracked-files=all"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_the_position_table_shows_table_and_pictures(outputs, tmp_path):
    found = outputs("position_table.ipynb", "variants=none,p4,p6", "widths=4,4,4")
    shown = [output.get("data", {}) for output in found]
    assert sum("image/png" in data for data in shown) == 2
    table = next(data["text/markdown"] for data in shown if "text/markdown" in data)
    assert all(f"| {variant} |" in table for variant in ("none", "p4", "p6"))
    assert (tmp_path / "digits" / "ledger.jsonl").read_text().count("\n") == 9


def test_the_wrong_place_is_found_and_mended(outputs):
    found = outputs("wrong_place.ipynb", "places=Dense_0:in", "rates=0.1")
    said = "".join(output.get("text", "") for output in found)
    assert "stand at Block_*/BatchNorm_1:in, a wrong place" in said
    assert "Move it to Block_*/Conv_1:in" in said
    assert "recalibrated: " in said
    assert "my_network:make on digits: 100 training images" in said
    assert sum("image/png" in output.get("data", {}) for output in found) == 2


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_they_are_committed_without_outputs(path):
    assert not any(cell.get("outputs") for cell in nbformat.read(path, as_version=4).cells)
