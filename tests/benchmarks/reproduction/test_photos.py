import json

import pytest

from benchmarks.harness.workfolder import LEDGERS
from benchmarks.reproduction.photos import FILE, section
from flaxdrop.results import ledger
from flaxdrop.training.content import NUMERICS


@pytest.fixture
def lines():
    return [json.loads(line) for line in (LEDGERS / FILE).read_text().splitlines()]


def test_every_row_of_the_present_numerics_stands_beside_the_published_error(lines):
    rows, warnings = ledger.read(LEDGERS / FILE)
    assert not warnings
    text = section(lines)
    rows = [row for row in rows if row.numerics == NUMERICS]
    assert rows
    for row in rows:
        assert f"| {row.variant} | {row.seed} | {100 * (1 - row.last_accuracy):.1f} |" in text
        assert 0 <= row.measured["waited_share"] <= 1
    assert text.count("| 15.8036 |") == sum(row.config["dataset"] == "caltech101" for row in rows)


def test_a_dataset_without_a_published_error_has_none(lines):
    line = lines[-1]
    line["config"]["dataset"] = "folder:mine"
    assert "15.8036" not in section([line])
