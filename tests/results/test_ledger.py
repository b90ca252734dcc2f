import dataclasses
import errno
import json
import math
import os
import re
import subprocess
import sys
import time
import tracemalloc

import jax.numpy as jnp
import numpy as np
import pytest

import flaxdrop
from flaxdrop.results import ledger
from flaxdrop.results import row as row_module
from flaxdrop.results.right import pack_right
from flaxdrop.results.row import NewerSchemaError, Row

# The package without what its `__init__` imports: JAX, whose import takes seconds, is not needed.
LOAD = """
import sys, types
flaxdrop = sys.modules["flaxdrop"] = types.ModuleType("flaxdrop")
flaxdrop.__path__ = [sys.argv[1]]
from flaxdrop.results import ledger
row = ledger.Row.from_json(sys.argv[3])
assert "jax" not in sys.modules
"""


def run_python(code, *arguments):
    command = [sys.executable, "-c", LOAD + code, flaxdrop.__path__[0], *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "ledger.jsonl"


def test_a_row_survives_the_round_trip(make_row):
    row = make_row(config={"rates": (0.1, 0.2), "nested": {"a": None}})
    assert Row.from_json(row.to_json()) == row


def test_a_line_is_strict_json_with_every_documented_field(make_row):
    def refuse(constant):
        raise AssertionError(constant)

    row = make_row()
    curve = {**row.curve, "test_nll": [1.0, 1.0, 1.0, math.inf]}
    text = make_row(curve=curve).to_json()
    assert "\n" not in text
    fields = json.loads(text, parse_constant=refuse)
    documented = [
        line.split("|")[1].strip() for line in row_module.__doc__.splitlines() if "|" in line
    ]
    found = [*fields, *(f"curve.{name}" for name in fields["curve"])]
    assert sorted(found) == sorted(documented[2:])
    assert list(fields) == sorted(fields)


def test_numbers_that_are_not_finite_are_null_in_the_file_and_nan_in_memory(make_row):
    row = make_row(status="diverged", best_accuracy=None, best_epoch=None, last_accuracy=math.nan)
    curve = {**row.curve, "train_loss": [1.0, math.inf, math.nan, None]}
    row = dataclasses.replace(row, curve=curve)
    fields = json.loads(row.to_json())
    assert fields["best_accuracy"] is fields["last_accuracy"] is fields["best_epoch"] is None
    assert fields["curve"]["train_loss"] == [1.0, None, None, None]
    again = Row.from_json(row.to_json())
    assert again == row
    assert math.isnan(again.last_accuracy)
    assert np.isnan(again.curve["train_loss"]).tolist() == [False, True, True, True]


def test_array_scalars_become_plain_numbers(make_row):
    row = make_row(
        seed=np.int64(3),
        parameters=jnp.int32(7),
        accuracy=np.float64(0.5),
        wall_seconds=np.float32(0.5),
    )
    kinds = [type(v) for v in (row.seed, row.parameters, row.last_accuracy, row.wall_seconds)]
    assert kinds == [int, int, float, float]
    assert Row.from_json(row.to_json()) == row


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"status": "running"}, "status: 'running', must be one of finished, diverged"),
        ({"last_accuracy": 93.0}, r"last_accuracy: 93.0, must be a fraction in \[0, 1\]"),
        ({"best_accuracy": None}, "best_accuracy: nan, must be"),
        ({"best_epoch": 0}, "best_epoch: 0, must be one of the 4 epochs"),
        ({"best_epoch": 5}, "best_epoch: 5, must be"),
        ({"best_epoch": None}, "best_epoch: None, must be"),
        ({"seed": 1.5}, "seed: 1.5, must be an integer"),
        ({"seed": True}, "seed: True, must be an integer"),
        ({"seed": None}, "seed: None, must be an integer"),
        ({"wall_seconds": "9"}, "wall_seconds: '9', must be a number"),
        ({"variant": 6}, "variant: 6, must be a string"),
        ({"config": [1]}, "config: a list, must be a dict"),
        ({"config": {"rate": object()}}, "config: .* must be plain JSON"),
        ({"config": {"rate": math.nan}}, "config: .* must be plain JSON"),
        ({"versions": {"jax": 1}}, "versions: .* must map names to version strings"),
        ({"measured": [1]}, "measured: a list, must be a dict"),
        ({"measured": {"variance": "1"}}, "measured variance: '1', must be a number"),
        ({"schema": 0}, "schema: 0, must be 4"),
        ({"seed": -1}, "seed: -1, must be in"),
        ({"seed": 10**400}, "seed: 1000.*, must be in"),
        ({"parameters": -5}, "parameters: -5, must be in"),
        ({"wall_seconds": -1.0}, "wall_seconds: -1.0, must be in"),
        ({"wall_seconds": 10**400}, "wall_seconds: 1000.*, must be a number"),
        ({"chance": 5.0}, r"chance: 5.0, must be in \[0, 1\]"),
    ],
)
def test_a_bad_value_is_refused_in_one_line(make_row, fields, message):
    with pytest.raises(ValueError, match=message) as error:
        make_row(**fields)
    assert "\n" not in str(error.value)


def test_curves_of_other_names_or_of_different_lengths_are_refused(make_row):
    row = make_row()
    with pytest.raises(ValueError, match="curve: must be a dict of train_loss"):
        dataclasses.replace(row, curve={"train_loss": []})
    with pytest.raises(ValueError, match=r"curve: lengths differ .*train_loss 1"):
        dataclasses.replace(row, curve={**row.curve, "train_loss": [1.0]})


@pytest.mark.parametrize(
    ("name", "value"),
    [("test_nll", -5.0), ("train_loss", -1.0), ("test_ece", 7.0), ("train_accuracy", 9.0)],
)
def test_a_curve_that_leaves_its_range_is_refused(make_row, name, value):
    row = make_row()
    curve = {**row.curve, name: [*row.curve[name][:-1], value]}
    with pytest.raises(ValueError, match=rf"^curve, {name}: {value}, must be in \[0, "):
        dataclasses.replace(row, curve=curve)


def test_a_missing_and_an_unknown_field_are_refused_by_name(make_row):
    fields = json.loads(make_row().to_json())
    del fields["digest"]
    fields["colour"] = "red"
    with pytest.raises(ValueError, match="fields missing or unknown: colour, digest"):
        Row.from_json(json.dumps(fields))


def test_rows_come_back_in_order(path, make_row):
    rows = [make_row(variant, seed) for seed in range(2) for variant in ("none", "p6")]
    for row in rows:
        ledger.append(path, row)
    assert ledger.read(path) == (rows, [])


def test_no_file_has_no_rows(path):
    assert ledger.read(path) == ([], [])


def test_cut_anywhere_no_earlier_row_is_lost_and_none_is_glued(path, make_row, monkeypatch):
    # Two thousand appends: waiting for the disk would add nothing but time.
    monkeypatch.setattr(os, "fsync", lambda _: None)
    rows = [make_row(seed=seed, epochs=1) for seed in range(2)]
    later = make_row(seed=9, epochs=1)
    lines = [row.to_json().encode() + b"\n" for row in rows]
    whole = b"".join(lines)
    # A row is complete when its JSON is, with or without its newline.
    ends = np.cumsum([len(line) for line in lines]) - 1
    for cut in range(len(whole) + 1):
        path.write_bytes(whole[:cut])
        ledger.append(path, later)
        found, warnings = ledger.read(path)
        complete = [row for row, end in zip(rows, ends, strict=True) if cut >= end]
        assert found == [*complete, later], cut
        fragment = cut not in (0, *ends, *(ends + 1))
        assert len(warnings) == fragment, cut


def test_a_corrupt_line_is_reported_with_its_number_and_left_out(path, make_row):
    good = make_row().to_json().encode()
    bad = [b"\x00" * 9, b"\xff\xfe", b"[1]", b"{}", b"null", b"{" + good]
    path.write_bytes(b"\n".join([*bad, good, b""]))
    rows, warnings = ledger.read(path)
    assert rows == [make_row()]
    assert len(warnings) == len(bad)
    for number, warning in enumerate(warnings, start=1):
        assert warning.startswith(f"{path} line {number}: left out, ")
        assert "\n" not in warning


def test_a_newer_schema_is_refused(path, make_row):
    ledger.append(path, make_row())
    with path.open("a") as file:
        file.write('{"schema": 5, "kind_of_row": "new"}\n')
    with pytest.raises(NewerSchemaError, match=r"line 2: schema: 5 is newer than 4.*update"):
        ledger.read(path)


@pytest.mark.parametrize("schema", [1, 2])
def test_a_row_from_before_numerics_were_counted_is_read(make_row, schema):
    fields = json.loads(make_row().to_json())
    later = ("numerics", "data", "weights", "chance", *(["measured"] if schema == 1 else []))
    for name in (*later, "row_digest"):
        del fields[name]
    row = Row.from_json(json.dumps({**fields, "schema": schema}))
    assert (row.schema, row.content) == (4, ("0123456789ab", 0, "", ""))
    assert math.isnan(row.chance)
    assert not row.at_chance
    assert Row.from_json(row.to_json()) == row
    with pytest.raises(ValueError, match="fields missing or unknown: chance, "):
        Row.from_json(json.dumps(fields))


@pytest.mark.parametrize("field", ["config_hash", "numerics", "data", "weights"])
def test_cells_of_another_content_are_others(path, make_row, field):
    row = make_row()
    other = dataclasses.replace(row, **{field: 2 if field == "numerics" else "another"})
    for written in (row, other, row):
        ledger.append(path, written)
    found, warnings = ledger.read(path)
    assert found == [row, other]
    assert len(warnings) == 1


@pytest.mark.parametrize(("accuracy", "at_chance"), [(0.1, True), (0.12, True), (0.121, False)])
def test_a_cell_that_is_no_better_than_guessing(make_row, accuracy, at_chance):
    row = make_row(accuracy=np.float32(accuracy), chance=0.12)
    assert row.at_chance == at_chance
    assert not dataclasses.replace(row, status="diverged").at_chance


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_told_in_one_line(path, make_row, monkeypatch, number):
    def flock(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(ledger.fcntl, "flock", flock)
    with pytest.raises(OSError, match=r"p6 with seed 0 .*local disk.*ledger\.jsonl") as caught:
        ledger.append(path, make_row())
    assert caught.value.errno == number
    assert "\n" not in str(caught.value)
    assert not path.read_bytes()


def test_what_was_measured_comes_back(make_row):
    row = make_row(measured={"variance": np.float32(0.5), "lost": math.nan})
    assert Row.from_json(row.to_json()) == row
    assert row.measured["variance"] == 0.5
    assert '"lost": null' in row.to_json()


def test_the_first_of_two_rows_of_one_cell_counts(path, make_row):
    first, again = make_row(accuracy=0.9), make_row(accuracy=0.8)
    others = [make_row(seed=1), make_row("p5"), make_row(config_hash="f" * 12)]
    for row in (first, *others, again):
        ledger.append(path, row)
    rows, warnings = ledger.read(path)
    assert rows == [first, *others]
    assert len(warnings) == 1
    assert "line 5: left out, p6 with seed 0 is already in" in warnings[0]


def test_appends_of_several_processes_lose_nothing(path, make_row):
    code = """
import dataclasses
for i in range(40):
    ledger.append(sys.argv[2], dataclasses.replace(row, seed=int(sys.argv[4]) + i))
"""
    workers = [run_python(code, path, make_row().to_json(), 100 * i) for i in range(4)]
    for worker in workers:
        _, errors = worker.communicate(timeout=60)
        assert worker.returncode == 0, errors
    rows, warnings = ledger.read(path)
    assert warnings == []
    assert {row.seed for row in rows} == {100 * i + j for i in range(4) for j in range(40)}


def test_the_lock_is_held_while_writing(path, make_row, monkeypatch):
    code = """
import fcntl
with open(sys.argv[2]) as file:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print("locked")
"""
    seen = []
    write = os.write

    def watched(descriptor, data):
        seen.append(run_python(code, path, make_row().to_json()).communicate(timeout=60)[0])
        return write(descriptor, data)

    monkeypatch.setattr(os, "write", watched)
    ledger.append(path, make_row())
    assert seen == ["locked\n"]


@pytest.mark.parametrize("fragment", [b"", b'{"schema": 1, "stu'])
@pytest.mark.parametrize("room", [0, 1, 100])
def test_a_full_disk_leaves_the_ledger_as_it_was(path, make_row, fragment, room):
    # The operating system's own limit on the size of a file, in a process of its own.
    code = """
import os, resource
size = os.path.getsize(sys.argv[2]) + int(sys.argv[4])
resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
try:
    ledger.append(sys.argv[2], row)
except OSError as error:
    print(error)
"""
    ledger.append(path, make_row(seed=1))
    with path.open("ab") as file:
        file.write(fragment)
    before = path.read_bytes()
    output, errors = run_python(code, path, make_row(seed=2).to_json(), room).communicate(
        timeout=60
    )
    assert not errors
    assert path.read_bytes() == before
    assert len(output.splitlines()) == 1
    assert "p6 with seed 2 is not in the ledger; make room and run the same command again" in output
    ledger.append(path, make_row(seed=2))
    assert [row.seed for row in ledger.read(path)[0]] == [1, 2]


@pytest.mark.parametrize("name", ["write", "fsync"])
def test_no_space_left_is_an_oserror_of_that_number_and_undone(path, make_row, monkeypatch, name):
    ledger.append(path, make_row(seed=1))
    before = path.read_bytes()

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, name, full)
        with pytest.raises(OSError, match="No space left on device: p6 with seed 2") as error:
            ledger.append(path, make_row(seed=2))
    assert error.value.errno == errno.ENOSPC
    assert error.value.filename == str(path)
    assert path.read_bytes() == before


def test_a_short_write_is_a_full_disk(path, make_row, monkeypatch):
    write = os.write
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda descriptor, data: write(descriptor, data[:10]))
        with pytest.raises(OSError, match="No space left on device") as error:
            ledger.append(path, make_row())
    assert error.value.errno == errno.ENOSPC
    assert path.read_bytes() == b""


def test_a_row_tells_which_examples_were_right(make_row, path):
    right = np.random.default_rng(0).random((2, 50)) < 0.7
    row = make_row(epochs=3)
    curve = {**row.curve, "test_accuracy": [0.5, *right.mean(axis=1)]}
    packed = pack_right(np.packbits(right, axis=1))
    last = right.mean(axis=1)[-1]
    fields = {"curve": curve, "right": packed, "test_examples": 50}
    ledger.append(path, make_row(accuracy=last, epochs=3, **fields))
    (read,), _ = ledger.read(path)
    np.testing.assert_array_equal(read.right_examples, right)
    fields["curve"] = {**curve, "test_accuracy": [0.5, 0.5, 0.5]}
    with pytest.raises(ValueError, match=r"^right: .* must be 0\.5$"):
        make_row(accuracy=0.5, epochs=3, **fields)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"last_accuracy": 0.95}, "last_accuracy"),
        ({"best_accuracy": 0.2}, "best_accuracy"),
        ({"last_nll": -5.0}, "last_nll"),
        ({"best_epoch": 1}, "best_epoch"),
        ({"digest": "x"}, "digest"),
    ],
)
def test_a_row_that_contradicts_itself_is_refused(make_row, change, field):
    with pytest.raises(ValueError, match=rf"^{field}: must be "):
        dataclasses.replace(make_row(), **change)


@pytest.mark.parametrize("field", ["seed", "variant", "git_revision", "wall_seconds"])
def test_a_row_that_was_edited_is_refused(path, make_row, field):
    fields = json.loads(make_row().to_json())
    fields[field] = 1 if isinstance(fields[field], int | float) else "other"
    path.write_text(json.dumps(fields) + "\n")
    rows, (warning,) = ledger.read(path)
    assert rows == []
    assert "row_digest: must be " in warning


def test_a_row_of_schema_3_had_no_digest(make_row):
    fields = json.loads(make_row().to_json())
    del fields["row_digest"]
    row = Row.from_json(json.dumps({**fields, "schema": 3}))
    assert row == make_row()
    with pytest.raises(ValueError, match="fields missing or unknown: row_digest"):
        Row.from_json(json.dumps(fields))
    digest = {"row_digest": "f" * 64, "schema": 3}
    with pytest.raises(ValueError, match="schema: 3, whose rows have no row_digest"):
        Row.from_json(json.dumps({**fields, **digest}))


def test_a_line_of_a_hundred_thousand_brackets_is_left_out(tmp_path):
    path = tmp_path / "ledger.jsonl"
    path.write_text("[" * 100_000 + "\n")
    rows, [warning] = ledger.read(path)
    assert not rows
    assert "line 1: left out" in warning


def test_a_line_with_a_number_too_large_is_left_out(path, make_row):
    text = make_row().to_json()
    (change,) = re.findall(r'"last_nll": [0-9.]+', text)
    large = text.replace(change, '"last_nll": 1' + 400 * "0")
    path.write_text(f"{large}\n")
    ledger.append(path, make_row())
    rows, [warning] = ledger.read(path)
    assert rows == [make_row()]
    assert "line 1: left out, " in warning


def test_the_order_of_the_fields_and_spaces_are_no_edit(make_row):
    fields = json.loads(make_row().to_json())
    other = dict(reversed(fields.items()))
    for text in (json.dumps(other), json.dumps(fields, indent=1), f" {make_row().to_json()}\n"):
        assert Row.from_json(text) == make_row()


@pytest.mark.parametrize(
    "right", ["!", "", "////", "//8="], ids=["no base64", "none", "too many", "bits of no example"]
)
def test_packed_bits_that_are_damaged_are_refused(make_row, right):
    # Nine examples are two bytes, the last seven bits of which are 0.
    fields = {"accuracy": 1.0, "test_examples": 9}
    assert make_row(right=["/4A="], **fields).right_examples.all()
    with pytest.raises(ValueError, match=r"^right: "):
        make_row(right=[right], **fields)


def test_a_reader_reads_what_was_added_since(path, make_row, monkeypatch):
    parsed = []
    from_json = Row.from_json
    monkeypatch.setattr(Row, "from_json", lambda text: parsed.append(text) or from_json(text))
    reader = ledger.Reader(path)
    assert reader.read() == ([], [])
    rows = [make_row(seed=seed) for seed in range(4)]
    ledger.append(path, rows[0])
    assert reader.read() == (rows[:1], [])
    assert reader.read() == (rows[:1], [])
    assert len(parsed) == 1
    line = rows[1].to_json().encode()
    with path.open("ab") as file:
        file.write(line[:100])
    assert (len(reader.read()[0]), len(reader.read()[1])) == (1, 1)
    with path.open("ab") as file:
        file.write(line[100:])
    assert reader.read() == (rows[:2], [])
    ledger.append(path, rows[0])
    found, [warning] = reader.read()
    assert found == rows[:2]
    assert "line 3: left out" in warning
    path.write_bytes(b"")
    ledger.append(path, rows[3])
    assert reader.read() == (rows[3:], [])


def test_rows_share_what_they_have_in_common(path, make_row):
    for seed in range(2):
        ledger.append(path, make_row(seed=seed, config={"rate": 1.0}))
    ledger.append(path, make_row(seed=2, config={"rate": 1}))
    (a, b, c), _ = ledger.read(path)
    assert a.config is b.config
    assert a.versions is c.versions
    assert type(c.config["rate"]) is int


def test_many_rows_are_read_in_little_time_and_memory(path, make_row):
    """A hundred thousand rows in seconds and less than their file: held in terms of that."""
    right = np.arange(10_000) < 9000
    fields = {"right": pack_right(np.packbits(right[None], axis=1)), "test_examples": 10_000}
    lines = [make_row(seed=seed, epochs=40, **fields).to_json() + "\n" for seed in range(300)]
    path.write_text("".join(lines))
    ledger.read(path)
    seconds = {"read": [], "parse": []}
    for _ in range(5):
        began = time.process_time()
        ledger.read(path)
        middle = time.process_time()
        for line in lines:
            json.loads(line)
        seconds["read"].append(middle - began)
        seconds["parse"].append(time.process_time() - middle)
    assert min(seconds["read"]) < 4 * min(seconds["parse"])
    tracemalloc.start()
    rows = ledger.read(path)
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(rows[0]) == 300
    assert kept < path.stat().st_size
