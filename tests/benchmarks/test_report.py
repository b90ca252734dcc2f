"""The page is what the ledger and the code say, and it is told when it is not."""

import contextlib
import dataclasses
import math
import os
import pathlib
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from benchmarks import preresnet, report, vgg_depth
from benchmarks.harness.workfolder import LEDGERS
from benchmarks.reproduction.jobs import all_jobs
from benchmarks.reproduction.pictures import digest
from benchmarks.reproduction.progress import progress
from flaxdrop.results import ledger

from .conftest import ROOT

POSITIONS = next(job for job in all_jobs() if job.name == "cifar100:small")
DEPTH = next(job for job in all_jobs() if job.name == "vgg_cifar10:small")
PAGE = pathlib.Path("BENCHMARKS.md")


def write(rows):
    LEDGERS.mkdir(parents=True, exist_ok=True)
    for row in rows:
        ledger.append(LEDGERS / f"{row.study}.jsonl", row)


@pytest.fixture(scope="module")
def rows(rows_of_job):
    """P6 helps beyond doubt, P4 is not run, a cell of P1 diverged; three variants of the VGG."""
    noise = np.random.default_rng(0).normal(0, 0.0005, (20, 3))
    means = {"none": 0.40, "p6": 0.45, "p5": 0.45, "p1": 0.38, "p2": 0.38, "p3": 0.38}
    accuracies = {name: mean + noise[i] for i, (name, mean) in enumerate(means.items())}
    accuracies["p1"][1] = math.nan
    blocks = {"BN": 0.5, "block 1 only 0.5": 0.3, "block 3 only 0.5": 0.55, "conv 0.2": 0.45}
    by_block = {name: mean + noise[9 + i] for i, (name, mean) in enumerate(blocks.items())}
    return [
        *rows_of_job(POSITIONS, accuracies),
        *rows_of_job(DEPTH, by_block),
    ]


@pytest.fixture(scope="module")
def rendered_once(rows, tmp_path_factory):
    """A folder with a page of these rows."""
    folder = tmp_path_factory.mktemp("rendered")
    with contextlib.chdir(folder):
        write(rows)
        assert report.main([]) == 0
    return folder


@pytest.fixture
def rendered(rendered_once, tmp_path, monkeypatch):
    """The user is where a page of these rows was written."""
    monkeypatch.chdir(shutil.copytree(rendered_once, tmp_path / "rendered"))
    return PAGE.read_text()


@pytest.fixture
def stale(capsys):
    """What is said to be stale."""

    def said():
        capsys.readouterr()
        assert report.main(["--check"]) == 2
        error = capsys.readouterr().err
        assert error.startswith("error: ")
        assert error.count("\n") == 1
        return error

    return said


def test_the_page_of_the_repository_is_fresh_without_a_device():
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.report", "--check"],
        cwd=ROOT,
        env={**os.environ, "JAX_PLATFORMS": "none"},  # asked for a device, jax would fail
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_it_says_what_agrees_what_does_not_and_what_was_not_run(rendered):
    assert report.main(["--check"]) == 0
    lines = rendered.splitlines()
    grid = {}
    for line in lines[: lines.index("## preresnet, cifar100")]:
        if "(Kim et" in line:
            grid[line.split("|")[1].split("(")[0].strip()] = line
    assert "**holds**. p6* - none: +5." in grid["P6 helps"]
    assert (
        "not run: p6 - p0, p6 - p4, p6 - p7"
        in grid["P6 is better than every other position, P5 apart, which is the same network"]
    )
    assert "**not run**" in grid["P4, before the second norm, hurts"]
    assert "**not run**" not in grid["P1, before the first norm, hurts"]
    (conv,) = [line for line in lines if line.startswith("| Dropout 0.2 after every")][:1]
    assert "**does not hold**" in conv
    assert any(line.startswith("| Channel-wise") and "proved" in line for line in lines)
    assert "- preresnet, cifar10:small, rate=0.3: 30 of 30 cells." in lines
    assert "- preresnet, cifar100:small: 9 of 24 cells." in lines
    missing = "- Not run yet: 9 cells (p0 x 3, p4 x 3, p7 x 3)"
    assert any(line.startswith(missing) for line in lines)


def test_published_numbers_have_a_column_and_what_is_unknown_is_not_stated(rendered):
    assert rendered.count("published, % |") == 2
    none = next(line for line in rendered.splitlines() if line.startswith("| none |"))
    assert "| not stated |" in none
    depth = next(line for line in rendered.splitlines() if line.startswith("| BN |"))
    assert "| 85.63 |" in depth
    assert "Published for PreResNet-110 with dropout: 73.98 %, position and rate not stated" in (
        rendered
    )
    assert "does not agree: conv 0.2 (-4.98 points, published +1.44)." in rendered
    assert "| p1 | 2, 1 diverged |" in rendered


def test_rendered_again_it_is_the_same_and_pictures_are_left_alone(rendered):
    before = {path: path.stat().st_mtime_ns for path in pathlib.Path("docs").rglob("*.png")}
    assert len(before) == 2
    assert report.main([]) == 0
    assert PAGE.read_text() == rendered
    assert before == {path: path.stat().st_mtime_ns for path in before}


@pytest.mark.usefixtures("rendered")
def test_rows_of_earlier_numerics_are_counted_and_not_shown(rows, stale):
    path = LEDGERS / "preresnet.jsonl"
    earlier = [dataclasses.replace(row, numerics=0, data="") for row in rows]
    strange = [dataclasses.replace(row, config_hash="0" * 12) for row in earlier]  # of no config
    path.write_text("".join(row.to_json() + "\n" for row in (*earlier, *strange)))
    assert "BENCHMARKS.md line " in stale()
    assert report.main([]) == 0
    page = PAGE.read_text()
    assert f"- `preresnet.jsonl`: {2 * len(earlier)} rows of earlier versions" in page
    assert "## preresnet" not in page
    assert "P6 helps (cifar100:small)" not in page
    assert [path.name for path in pathlib.Path("docs/benchmarks").glob("preresnet*")] == []
    assert report.main(["--check"]) == 0


@pytest.mark.usefixtures("rendered")
def test_a_picture_of_an_earlier_page_is_told_and_removed(stale):
    left = pathlib.Path("docs/benchmarks/earlier.png")
    left.touch()
    assert f"{left} is not in the page" in stale()
    assert report.main([]) == 0
    assert not left.exists()


def test_a_new_row_makes_it_stale(rendered, stale, rows_of_job):
    write([dataclasses.replace(row, seed=4) for row in rows_of_job(POSITIONS, {"p4": [0.3]})])
    assert "BENCHMARKS.md line " in stale()
    assert report.main([]) == 0
    assert report.main(["--check"]) == 0
    assert PAGE.read_text() != rendered


@pytest.mark.usefixtures("rendered")
def test_a_published_number_that_is_changed_makes_it_stale(stale, monkeypatch):
    PAGE.write_text(PAGE.read_text().replace("| 85.63 |", "| 85.64 |"))
    assert "85.64" in stale()
    assert report.main([]) == 0
    monkeypatch.setitem(vgg_depth.PUBLISHED, "BN", 0.9)
    assert "90.00" in stale()
    monkeypatch.undo()


def test_a_score_of_the_paper_that_is_changed_makes_it_stale(rendered, stale, monkeypatch):
    assert "73.98" in rendered
    with monkeypatch.context() as patch:
        patch.setitem(preresnet.SCORES, "cifar100", 0.75)
        assert "73.98" in stale()


@pytest.mark.usefixtures("rendered")
def test_a_picture_that_is_missing_or_of_other_rows_is_stale(stale, rows):
    picture, other = sorted(pathlib.Path("docs/benchmarks").glob("*.png"))
    with Image.open(picture) as image:
        image.verify()
    right = picture.read_bytes()
    for content in (None, b"no picture", other.read_bytes()):
        picture.unlink()
        if content:
            picture.write_bytes(content)
        assert f"{picture} is stale" in stale()
        assert report.main([]) == 0
        assert report.main(["--check"]) == 0
    assert len(right) == picture.stat().st_size
    assert digest(rows) == digest(rows[::-1])


@pytest.mark.usefixtures("rendered")
@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"config": {"depth": 1}}, "config_hash is .*, that of its config is "),
        ({"config_hash": "0" * 12}, "config_hash is 000000000000, that of its config is "),
        ({"study": "head"}, "study is head, must be preresnet"),
        ({"placement": "p6=0.9"}, "placement is p6=0.9, not p6=0.1"),
        ({"variant": "p9"}, "variant: must be one of none, p0"),
        ({"data": "e" * 32}, "data: must be '.*', got 'eeee"),
        ({"weights": "e" * 64}, "weights: must be '', got 'eeee"),
    ],
)
def test_a_row_that_does_not_fit_its_config_is_refused(change, said, rows_of_job, capsys):
    path = LEDGERS / "preresnet.jsonl"
    (row,) = rows_of_job(POSITIONS, {"p6": [0.4]})
    path.write_text(dataclasses.replace(row, **change, seed=7).to_json() + "\n")
    for arguments in ([], ["--check"]):
        assert report.main(arguments) == 2
        error = capsys.readouterr().err
        assert error.startswith(f"error: {path}: ")
        assert re.search(said, error)


@pytest.mark.usefixtures("rendered")
def test_a_config_of_no_part_and_a_damaged_line_are_refused(rows_of_job, stale):
    path = LEDGERS / "preresnet.jsonl"
    before = path.read_bytes()
    other = dataclasses.replace(
        POSITIONS, settings=dataclasses.replace(POSITIONS.settings, epochs=99)
    )
    write(rows_of_job(other, {"p6": [0.4]}))
    assert f"config {other.config_hash} is none of the reproduction" in stale()
    path.write_bytes(before[:-20])
    assert "left out, not JSON" in stale()


def test_without_a_ledger_everything_is_not_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert report.main([]) == 0
    page = PAGE.read_text()
    assert "| P6 helps (Kim et al. 2023) | not run |" in page
    wanted = [run for run in progress(all_jobs(), {}) if run.wanted]
    assert sum(line.endswith(" cells.") for line in page.splitlines()) == len(wanted)
    assert "`benchmarks.transfer` is no part" in page
    assert not pathlib.Path("docs").exists()
    assert report.main(["--check"]) == 0


def test_other_ledgers_have_a_section_where_there_is_one(rendered, monkeypatch):
    (LEDGERS / "speeds.jsonl").write_text('{"speed": 3}\n{"speed": 4}\n')
    assert report.main(["--check"]) == 0
    sections = {"speeds.jsonl": lambda rows: f"## Speeds\n\n{len(rows)} rows\n"}
    monkeypatch.setattr(report, "SECTIONS", sections)
    assert report.main([]) == 0
    assert "\n## Speeds\n\n2 rows\n" in PAGE.read_text()
    assert PAGE.read_text().replace("## Speeds\n\n2 rows\n\n", "") == rendered


def test_rates_stand_beside_each_other(rendered, rows_of_job):
    assert ", by rate" not in rendered
    higher = next(job for job in all_jobs() if job.name == "cifar100:small, rate=0.5")
    write(rows_of_job(higher, {"none": [0.4, 0.401], "p6": [0.5, 0.502], "p4": [0.3, 0.302]}))
    assert report.main([]) == 0
    lines = PAGE.read_text().splitlines()
    assert lines.index("## preresnet, cifar100, rate 0.5") < lines.index(
        "## preresnet, cifar100:small, by rate"
    )
    assert "| network | rate 0.1 | rate 0.5 | rate 0.5 - rate 0.1 |" in lines
    (line,) = [line for line in lines if line.startswith("| p4 | - | -")]
    assert re.match(r"\| p4 \| - \| -(9\.9|10\.0)\d \[", line)
    (shown,) = [line for line in lines if line.startswith("![Differences to none by rate")]
    path = pathlib.Path(shown[shown.index("(") + 1 : -1])
    with Image.open(path) as image:
        image.verify()
    assert report.main(["--check"]) == 0


BAD = "cpu <script>alert(1)</script> | bar\n# A heading\n\x1b[31mred [a](b)"


def test_text_of_a_row_stays_text(rows, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    texts = {"device_kind": BAD, "precision": BAD, "git_revision": BAD}
    write([dataclasses.replace(row, **texts, versions={BAD: BAD}) for row in rows])
    assert report.main([]) == 0
    page = PAGE.read_text()
    assert "alert" in page
    assert "\x1b" not in page
    assert "\n# A heading" not in page
    assert not re.search(r"(?<!\\)<script", page)
    assert not re.search(r"(?<!\\)\[a", page)
