from benchmarks.findings.recalibration import harm_table


def rows_of(table):
    return {cells[0]: dict(zip(table.columns, cells, strict=True)) for cells in table.cells}


def test_every_trained_network_is_repaired(trained_table):
    lines = (trained_table / "repair.md").read_text().splitlines()
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines if "|" in line]
    assert [row[:2] for row in cells[2:]] == [[name, "2"] for name in ("none", "p0", "p4", "p6")]


def test_the_share_of_the_harm_that_is_repaired():
    before = {"none": {0: (90.0, 0.5), 1: (92.0, 0.4)}, "p4": {0: (80.0, 0.9), 1: (82.2, 0.8)}}
    after = {"none": {0: (90.0, 0.5), 1: (92.0, 0.4)}, "p4": {0: (85.0, 0.7), 1: (87.2, 0.62)}}
    told = rows_of(harm_table(before, after, ["none", "p4"], "none", 100))
    assert told["p4"]["last - none before, points"].startswith("-9.90 [")
    assert told["p4"]["after, points"].startswith("-4.90 [")
    assert told["p4"]["harm repaired"] == "51 %"
    assert told["p4"]["repair, NLL"].startswith("-0.19 [")
    assert told["none"]["repair, points"].startswith("+0.00 [")
    assert told["none"]["harm repaired"] == "-"


def test_no_share_where_there_was_no_harm_to_tell():
    before = {"none": {0: (90.0, 0.5), 1: (92.0, 0.4)}, "p6": {0: (89.0, 0.9), 1: (93.5, 0.8)}}
    told = rows_of(harm_table(before, before, ["none", "p6"], "none", 100))
    assert told["p6"]["harm repaired"] == "-"
