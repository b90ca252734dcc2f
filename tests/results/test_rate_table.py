import numpy as np
import pytest

from flaxdrop.results.rate_table import rate_table

# In another order, so that they have other noise: differences that are all equal have no interval.
MEANS = {0.1: {"none": 0.4, "p4": 0.42, "p6": 0.42}, 0.5: {"p4": 0.3, "none": 0.4, "p6": 0.42}}


def table_of(rows):
    return rate_table(rows, order=("none", "p4", "p6", "p7"), baseline="none")


@pytest.fixture
def rows(make_study):
    return {rate: make_study(means, seeds=4) for rate, means in MEANS.items()}


def cell(table, variant, column):
    line = next(line for line in table.cells if line[0] == variant)
    return line[table.columns.index(column)]


def test_columns_are_paired_differences_and_the_last_one_that_of_the_differences(rows):
    table = table_of(rows)
    assert table.columns == ("variant", "rate 0.1", "rate 0.5", "from 0.1 to 0.5")
    assert [line[0] for line in table.cells] == ["p4", "p6"]
    last = {
        (rate, row.variant, row.seed): 100 * row.last_accuracy
        for rate, of in rows.items()
        for row in of
    }
    means = {
        rate: np.mean([last[rate, "p4", seed] - last[rate, "none", seed] for seed in range(4)])
        for rate in rows
    }
    for rate, mean in means.items():
        assert cell(table, "p4", f"rate {rate}").startswith(f"{mean:+.2f} [")
    change = cell(table, "p4", "from 0.1 to 0.5")
    assert change.startswith(f"{means[0.5] - means[0.1]:+.2f} [")
    # Twelve points, where the spread of a difference is a tenth of one.
    assert change.endswith("] *")
    assert not cell(table, "p6", "from 0.1 to 0.5").endswith("*")


def test_what_is_not_there_has_no_number(rows, make_study, make_row):
    table = table_of({0.1: rows[0.1], 0.5: make_study({"none": 0.4, "p4": 0.3}, seeds=4)})
    assert cell(table, "p6", "rate 0.5") == "-"
    assert cell(table, "p6", "from 0.1 to 0.5") == "-"
    one = {rate: [make_row("none", accuracy=0.4), make_row("p4", accuracy=0.5)] for rate in rows}
    assert table_of(one).cells == (("p4", "+10.00", "+10.00", "+0.00"),)
    without = {0.1: rows[0.1], 0.5: [row for row in rows[0.5] if row.variant != "none"]}
    assert cell(table_of(without), "p4", "rate 0.5") == "-"
    assert table_of({0.1: [], 0.5: []}).cells == ()


def test_fewer_seeds_and_diverged_cells_are_told(make_study, make_row):
    few = make_study({"none": 0.4, "p4": 0.3, "p6": 0.42}, seeds=3)
    rows = {0.1: make_study(MEANS[0.1], seeds=4), 0.5: few}
    assert " (n = 3)" in cell(table_of(rows), "p4", "rate 0.5")
    assert "(n =" not in cell(table_of(rows), "p4", "rate 0.1")
    assert " (n = 3)" in cell(table_of(rows), "p4", "from 0.1 to 0.5")
    assert table_of(rows).notes[0].endswith("n = 4 unless told otherwise.")
    assert not any("iverged" in note for note in table_of(rows).notes)
    lost = make_row("p4", seed=3, status="diverged", last_accuracy=None)
    rows[0.5] = [*few, lost]
    assert table_of(rows).notes[-1] == "Diverged cells are in none of the means."


def test_the_noise_of_the_null_bars_what_is_smaller(make_study):
    # P5 is two points above P6, and they are one network: no difference of two points is told.
    means = {"none": 0.4, "p5": 0.42, "p6": 0.40, "p4": 0.3}
    rows = {rate: make_study(means, seeds=4) for rate in (0.1, 0.5)}
    barred = rate_table(rows, order=tuple(means), baseline="none", nulls=(("p5", "p6"),))
    free = rate_table(rows, order=tuple(means), baseline="none")
    assert cell(free, "p5", "rate 0.1").endswith("*")
    assert not cell(barred, "p5", "rate 0.1").endswith("*")
    assert cell(barred, "p4", "rate 0.1").endswith("*")
