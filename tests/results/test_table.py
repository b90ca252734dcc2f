import re

import pytest

from flaxdrop.results.comparison import compare
from flaxdrop.results.table import accuracy_table, effect_table
from flaxdrop.table import WIDTH

ORDER = ["none", *(f"p{i}" for i in range(8))]
SAME = (("p6", "p5"), ("p2", "p3"))
MEANS = dict(zip(ORDER, [0.93, 0.88, 0.925, 0.91, 0.91, 0.915, 0.941, 0.941, 0.93], strict=True))


def compared(rows):
    return compare(rows, order=ORDER, baseline="none", same=SAME)


def table_of(rows, published=None):
    return accuracy_table(compared(rows), published)


def effects_of(rows):
    return effect_table(compared(rows))


def cell(table, name, column):
    (line,) = [line for line in table.cells if line[0].split(" ")[0] == name]
    return line[table.columns.index(column)]


def test_an_entry_tells_what_the_comparison_says(make_study):
    rows = make_study(MEANS)
    table, found = table_of(rows), compared(rows)
    assert [line[0] for line in table.cells] == ORDER
    level = found.level("p4")
    expected = f"{level.mean:.2f} ± {level.std:.2f} [{level.low:.2f}, {level.high:.2f}]"
    assert cell(table, "p4", "last, % ± std [95 %]") == expected
    assert cell(table, "p4", "n") == "5"
    for measure, column in (("accuracy", "last - none, points"), ("best", "best - none, points")):
        effect = found.effects[measure]["p4"]
        assert cell(effects_of(rows), "p4", column).startswith(f"{effect:+.2f}, p")


def test_merged_networks_name_their_variants_and_are_checked(make_study):
    table = effects_of(make_study(MEANS))
    assert [line[0] for line in table.cells] == [
        "p0", "p1", "p2* (p2, p3)", "p4", "p6* (p6, p5)", "p7",
    ]  # fmt: skip
    assert cell(table, "p6*", "n") == "10"
    checks = [note for note in table.notes if note.startswith("Check: ")]
    assert [note.split(" ")[1:4] for note in checks] == [["p3", "-", "p2"], ["p5", "-", "p6"]]
    assert not any("WARNING" in note for note in checks)


def test_one_network_that_differs_from_itself_is_a_warning(make_study):
    notes = effects_of(make_study({"none": 0.9, "p5": 0.90, "p6": 0.95})).notes
    (check,) = [note for note in notes if note.startswith("Check: p5 - p6")]
    assert "WARNING" in check


def test_published_numbers_stand_beside_the_best_or_are_not_stated(make_study):
    table = table_of(make_study(MEANS), published={"p6": 0.944367})
    assert cell(table, "p6", "published, %") == "94.44"
    assert cell(table, "p5", "published, %") == "not stated"
    columns = list(table.columns)
    assert columns.index("best, % ± std [95 %]") == columns.index("published, %") + 1


def test_a_published_number_that_is_none_is_not_stated(make_study):
    table = table_of(make_study(MEANS), published=dict.fromkeys(MEANS) | {"p6": 0.944367})
    assert cell(table, "p6", "published, %") == "94.44"
    assert cell(table, "none", "published, %") == "not stated"
    assert "published, %" in table_of(make_study(MEANS), published=dict.fromkeys(MEANS)).columns


def test_without_published_numbers_of_its_variants_there_is_no_such_column(make_study):
    for published in ({}, {"wide": 0.96}):
        assert "published, %" not in table_of(make_study(MEANS), published).columns


def test_the_terminal_has_120_columns_and_shows_every_cell(make_study):
    table = table_of(make_study(MEANS), published={"p6": 0.944367})
    lines = table.text().splitlines()
    assert max(map(len, lines)) <= WIDTH
    for text in {text for line in table.cells for text in line} | set(table.columns):
        assert any(text in line for line in lines)


def test_the_columns_of_the_terminal_are_aligned(make_study):
    text = table_of(make_study(MEANS)).text()
    for block in text.split("\n\n")[:-1]:
        header, rule, *lines = block.splitlines()
        starts = [match.start() for match in re.finditer("-+", rule)]
        assert len(lines) == len(ORDER)
        for line in (header, *lines):
            assert all(line[start] != " " for start in starts)
            assert all(line[start - 1] == " " for start in starts if start)


def test_markdown_has_a_line_a_variant_and_every_column(make_study, make_row):
    table = table_of([*make_study(MEANS), make_row("a|b")])
    lines = table.markdown().splitlines()
    assert len([line for line in lines if line.startswith("|")]) == len(table.cells) + 2
    for line in lines[: len(table.cells) + 2]:
        assert len(re.findall(r"(?<!\\)\|", line)) == len(table.columns) + 1
    assert [line.removeprefix("- ") for line in lines[len(table.cells) + 3 :]] == list(table.notes)


def test_without_the_baseline_there_are_no_differences(make_study):
    assert effects_of(make_study({"p5": 0.9, "p6": 0.9})).cells == ()


def test_one_seed_has_means_and_differences_without_intervals(make_study):
    found = compare(make_study(MEANS, seeds=1), order=ORDER, baseline="none")
    table = accuracy_table(found)
    assert re.fullmatch(r"\d\d\.\d\d", cell(table, "p4", "last, % ± std [95 %]"))
    differences = effect_table(found)
    assert re.fullmatch(r"[+-]\d\.\d\d", cell(differences, "p4", "last - none, points"))
    assert "nan" not in table.text() + differences.text()


def test_diverged_cells_are_shown_and_stay_out_of_the_means(make_row):
    rows = [make_row("none", seed, accuracy=0.9) for seed in range(3)]
    rows += [make_row("p1", 0, accuracy=0.8), make_row("p1", 1, accuracy=0.8)]
    rows += [make_row("p1", 2, accuracy=0.1, status="diverged")]
    table = table_of(rows)
    assert cell(table, "p1", "n") == "2, 1 diverged"
    assert cell(table, "p1", "last, % ± std [95 %]").startswith("80.00 ± 0.00")
    assert cell(effects_of(rows), "p1", "last - none, points").startswith("-10.00")
    assert "Diverged cells are in none of the means." in table.notes


def test_cells_that_are_no_better_than_guessing_are_told(make_row):
    rows = [make_row("none", seed) for seed in range(3)]
    rows += [make_row("p1", 0), make_row("p1", 1, accuracy=0.1)]
    rows += [make_row("p1", 2, status="diverged")]
    table = table_of(rows)
    assert cell(table, "none", "n") == "3"
    assert cell(table, "p1", "n") == "2, 1 of 2 at chance, 1 diverged"
    assert any(note.startswith("At chance: ") for note in table.notes)
    assert not any("At chance" in note for note in table_of(rows[:3]).notes)


@pytest.mark.parametrize("variants", [["p6"], ["none", "p5", "p6"]])
def test_a_study_in_which_all_diverged_has_a_table(make_row, variants):
    rows = [
        make_row(v, s, status="diverged", best_accuracy=None, best_epoch=None, last_accuracy=None)
        for v in variants
        for s in range(2)
    ]
    table = table_of(rows)
    assert [line[:2] for line in table.cells] == [(v, "0, 2 diverged") for v in variants]
    assert cell(table, "p6", "last, % ± std [95 %]") == "-"
    assert effects_of(rows).cells == ()
    assert "nan" not in table.text() + table.markdown()


def test_no_rows_have_a_table_without_lines():
    table = table_of([])
    assert table.cells == ()
    assert "variant" in table.text()
    assert "variant" in table.markdown()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(4.25, "4.2 s"), (119, "119.0 s"), (600, "10.0 min"), (9000, "2.5 h"), (None, "-")],
)
def test_the_time_of_a_cell_is_in_a_fitting_unit(make_row, seconds, text):
    assert cell(table_of([make_row(wall_seconds=seconds)]), "p6", "time a cell") == text
