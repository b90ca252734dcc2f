import json
import shutil

import pytest

from benchmarks.preresnet import PreResNetSettings
from benchmarks.probe import main


def test_the_table_is_compared_with_its_predictions(trained_table, capsys):
    assert main(["--run", str(trained_table), "--batch", "32", "--masks", "2"]) == 0
    said = capsys.readouterr().out
    rows = {line.split()[0]: line.split() for line in said.splitlines() if line}
    before = {name: float(rows[name][1]) for name in ("p0", "p4", "p6")}
    assert before["p0"] > before["p4"] > before["p6"] > 0
    assert said.count("Rank correlation of the shift ") == 2
    assert (trained_table / "prediction.png").stat().st_size > 10_000


@pytest.mark.parametrize(
    ("cell", "words"),
    [
        ("p4-seed0", "p4 shifts "),
        ("none-seed1", "No dropout is on: no batch norm is shifted."),
    ],
)
def test_a_trained_cell_is_probed(trained_table, cell, words, capsys):
    assert main(["--run", str(trained_table), "--cell", cell, "--batch", "32", "--masks", "2"]) == 0
    said = capsys.readouterr().out
    assert words in said
    assert "stage1_first/norm2" in said
    assert (trained_table / f"shift-{cell}.png").stat().st_size > 10_000


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--cell", "p9-seed0"], "error: cell: unknown 'p9-seed0', this run has none-seed0, "),
        (["--batch", "1"], "error: batch: must be at least 2, got 1"),
        (["--masks", "1"], "error: masks: must be at least 2, got 1"),
        (["--masks", "few"], "error: flag --masks=few: "),
    ],
)
def test_mistakes_are_said_in_one_line(trained_table, arguments, said, capsys):
    assert main(["--run", str(trained_table), *arguments]) == 2
    err = capsys.readouterr().err
    assert err.startswith(said)
    assert err.count("\n") == 1


@pytest.mark.parametrize("damage", ["empty", "settings", "list", "study", "ledger", "checkpoints"])
def test_folders_that_are_no_run_are_said_in_one_line(trained_table, damage, tmp_path, capsys):
    folder = tmp_path / "copy"
    if damage == "empty":
        folder.mkdir()
    else:
        shutil.copytree(trained_table, folder)
    if damage == "settings":
        (folder / "settings.json").write_text('{"study": ')
    if damage == "list":
        (folder / "settings.json").write_text("[1]")
    if damage == "study":
        settings = json.loads((trained_table / "settings.json").read_text())
        (folder / "settings.json").write_text(json.dumps(settings | {"study": "nothing"}))
    if damage == "ledger":
        (folder / "ledger.jsonl").unlink()
    if damage == "checkpoints":
        shutil.rmtree(folder / "checkpoints")
    assert main(["--run", str(folder), "--batch", "32", "--masks", "2"]) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: run: ")
    assert err.count("\n") == 1


def test_data_are_sought_where_it_is_told(tmp_path, capsys):
    settings = PreResNetSettings(dataset="cifar10", depth=8, epochs=1, batch=2).identity()
    (tmp_path / "settings.json").write_text(json.dumps({"study": "preresnet", **settings}))
    data = tmp_path / "elsewhere"
    data.mkdir()
    assert main(["--run", str(tmp_path), "--data_dir", str(data)]) == 2
    assert str(data) in capsys.readouterr().err
