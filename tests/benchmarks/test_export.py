import csv
import json

import pytest

from benchmarks.export import main


@pytest.fixture
def exported(trained_table, tmp_path, capsys):
    """The records of a file that the tool writes."""

    def export(form, table):
        path = tmp_path / f"{table}.{form}"
        words = ["--format", form, "--table", table, "--out", str(path), str(trained_table)]
        assert main(words) == 0
        assert str(path) in capsys.readouterr().out
        if form == "csv":
            with path.open(newline="") as file:
                return list(csv.DictReader(file))
        import pyarrow.parquet

        return pyarrow.parquet.read_table(path).to_pylist()

    return export


@pytest.fixture
def ledger(trained_table):
    return [json.loads(line) for line in (trained_table / "ledger.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_a_row_for_each_cell(exported, ledger, form):
    records = exported(form, "cells")
    assert len(records) == len(ledger)
    for record, row in zip(records, ledger, strict=True):
        assert record["variant"] == row["variant"]
        assert int(record["seed"]) == row["seed"]
        assert float(record["last_accuracy"]) == row["last_accuracy"]
        assert int(record["config.epochs"]) == row["config"]["epochs"]
        assert record["versions.jax"] == row["versions"]["jax"]


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_a_row_for_each_epoch(exported, ledger, form):
    records = exported(form, "curves")
    assert len(records) == sum(len(row["curve"]["train_loss"]) for row in ledger)
    first, row = records[0], ledger[0]
    assert (first["variant"], int(first["epoch"])) == (row["variant"], 1)
    for name, values in row["curve"].items():
        assert float(first[name]) == pytest.approx(values[0])


def test_mistakes_are_said_in_one_line(capsys):
    for words, said in (
        ([], "FOLDER: must be given"),
        (["nowhere"], "run: must be a work folder or a ledger, got nowhere"),
        (["nowhere", "--format", "xls"], "flag --format=xls"),
    ):
        assert main(words) == 2
        err = capsys.readouterr().err
        assert err.startswith(f"error: {said}")
        assert err.count("\n") == 1
