import re

import pytest

from flaxdrop.results.comparison import effects, null_of, outcomes
from flaxdrop.results.statistics import summary
from flaxdrop.results.table import study_table
from flaxdrop.table import WIDTH

ORDER = ["none", *(f"p{i}" for i in range(8))]
NULLS = [("p5", "p6"), ("p2", "p3")]
MEANS = dict(zip(ORDER, [0.93, 0.88, 0.925, 0.91, 0.91, 0.915, 0.941, 0.941, 0.93], strict=True))


def table_of(rows, published=None, nulls=NULLS):
    return study_table(rows, order=ORDER, published=published or {}, baseline="none", nulls=nulls)


def cell(table, variant, column):
    (line,) = [line for line in table.cells if line[0] == variant]
    return line[table.columns.index(column)]


def test_a_cell_tells_what_the_statistics_say(make_study):
    rows = make_study(MEANS)
    table = table_of(rows)
    assert [line[0] for line in table.cells] == ORDER
    s = summary(100 * row.last_accuracy for row in rows if row.variant == "p4")
    expected = f"{s.mean:.2f} ± {s.std:.2f} [{s.low:.2f}, {s.high:.2f}]"
    assert cell(table, "p4", "last, % ± std [95 %]") == expected
    assert cell(table, "p4", "n") == "5"
    found = outcomes(rows, ORDER)
    for measure in ("last", "best"):
        effect = effects(found, measure, "none", null_of(found, measure, NULLS))["p4"]
        d = effect.difference
        text = cell(table, "p4", f"{measure} - none, points")
        assert text.startswith(f"{d.mean:+.2f} [{d.low:+.2f}, {d.high:+.2f}], p")
        assert cell(table, "none", f"{measure} - none, points") == "-"


def test_published_numbers_stand_beside_the_best_or_are_not_stated(make_study):
    table = table_of(make_study(MEANS), published={"p6": 0.944367})
    assert cell(table, "p6", "published, %") == "94.44"
    assert cell(table, "p5", "published, %") == "not stated"
    columns = list(table.columns)
    assert columns.index("published, %") == columns.index("best, % ± std [95 %]") + 1


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
    text = table_of(make_study(MEANS), nulls=[]).text()
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


def test_the_words_name_what_helps_and_what_hurts(make_study):
    means = {"none": 0.93, "p1": 0.85, "p2": 0.931, "p3": 0.931, "p5": 0.96, "p6": 0.96}
    notes = table_of(make_study(means)).notes
    (words,) = [note for note in notes if note.startswith("Last accuracy against none")]
    assert "significant and larger than the noise: p1 hurts (-" in words
    assert "p5 helps (+" in words
    assert "p6 helps (+" in words


def test_when_nothing_stands_out_the_words_say_so(make_row):
    rows = [make_row(v, s, accuracy=0.9) for v in ("none", "p5", "p6") for s in range(3)]
    notes = table_of(rows).notes
    assert "Last accuracy against none, significant and larger than the noise: no variant." in notes


def test_the_null_is_told_below_the_table(make_study):
    rows = make_study(MEANS)
    found = outcomes(rows, ORDER)
    null = null_of(found, "last", NULLS)
    notes = "\n".join(table_of(rows).notes)
    for name in ("p5 - p6", "p2 - p3"):
        d = null.differences[name]
        assert f"{name}: last {d.mean:+.2f} points [{d.low:+.2f}, {d.high:+.2f}], p = " in notes
    assert notes.count("(one network, different masks: noise)") == 2
    assert f"over n = 5 seeds: last ± {null.noise(5):.2f} points" in notes
    assert "WARNING" not in notes


def test_a_significant_null_is_a_warning(make_study):
    notes = table_of(make_study({"p5": 0.90, "p6": 0.95})).notes
    warnings = [note for note in notes if note.startswith("WARNING")]
    assert [note.split(" is ")[0] for note in warnings] == [
        "WARNING: the null p5 - p6 of the last accuracy",
        "WARNING: the null p5 - p6 of the best accuracy",
    ]
    assert all("a bug, or n too small" in note for note in warnings)


def test_a_null_pair_that_was_not_run_says_so(make_study):
    notes = table_of(make_study({"none": 0.9, "p5": 0.92, "p6": 0.92, "p2": 0.9})).notes
    assert "p2 - p3: not run." in notes
    assert "p5 - p6: not run." not in notes


def test_a_study_without_nulls_compares_by_significance_alone(make_study):
    notes = table_of(make_study({"none": 0.90, "p6": 0.95}), nulls=[]).notes
    (words,) = [note for note in notes if note.startswith("Last accuracy")]
    assert words.startswith("Last accuracy against none, significant: p6 helps (+")
    assert not any("noise" in note or "not run" in note for note in notes)


def test_without_the_baseline_there_are_no_differences(make_study):
    table = table_of(make_study({"p5": 0.9, "p6": 0.9}))
    assert not any("points" in column for column in table.columns)
    assert not any("against" in note for note in table.notes)


def test_one_seed_has_means_and_differences_without_intervals(make_study):
    table = table_of(make_study(MEANS, seeds=1))
    assert re.fullmatch(r"\d\d\.\d\d", cell(table, "p6", "last, % ± std [95 %]"))
    assert re.fullmatch(r"[+-]\d\.\d\d", cell(table, "p6", "last - none, points"))
    assert "nan" not in table.text()
    assert "Last accuracy against none: a test needs two seeds or more." in table.notes


def test_diverged_cells_are_shown_and_stay_out_of_the_means(make_row):
    rows = [make_row("none", seed, accuracy=0.9) for seed in range(3)]
    rows += [make_row("p1", 0, accuracy=0.8), make_row("p1", 1, accuracy=0.8)]
    rows += [make_row("p1", 2, accuracy=0.1, status="diverged")]
    table = table_of(rows)
    assert cell(table, "p1", "n") == "2, 1 diverged"
    assert cell(table, "p1", "last, % ± std [95 %]").startswith("80.00 ± 0.00")
    assert cell(table, "p1", "last - none, points").startswith("-10.00")
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
