"""The notebook runs from top to bottom, in a short form."""

import pathlib

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = pathlib.Path(__file__).parents[2]


@pytest.fixture
def short_form(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> pathlib.Path:
    overrides = ["seeds=2", "epochs=2", "variants=none,p4,p6", "train_examples=100"]
    overrides += ["widths=4,4,4", "batch=25"]
    monkeypatch.setenv("FLAXDROP_OVERRIDES", " ".join(f"--config.{each}" for each in overrides))
    monkeypatch.setenv("FLAXDROP_HOME", str(tmp_path))
    return tmp_path


def test_it_shows_table_and_pictures(short_form: pathlib.Path) -> None:
    notebook = nbformat.read(ROOT / "notebooks" / "position_table.ipynb", as_version=4)
    # It compiles more than it trains.
    hasty = "import jax; jax.config.update('jax_disable_most_optimizations', True)"
    notebook.cells.insert(0, nbformat.v4.new_code_cell(hasty))
    folder = str(ROOT / "notebooks")
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": folder}}).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    kinds = [kind for output in outputs for kind in output.get("data", {})]
    assert kinds.count("image/png") == 2
    table = next(
        o["data"]["text/markdown"] for o in outputs if "text/markdown" in o.get("data", {})
    )
    assert all(f"| {variant} |" in table for variant in ("none", "p4", "p6"))
    assert (short_form / "digits" / "ledger.jsonl").read_text().count("\n") == 6


def test_it_is_committed_without_outputs() -> None:
    notebook = nbformat.read(ROOT / "notebooks" / "position_table.ipynb", as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells)
