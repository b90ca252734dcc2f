import json

import numpy as np
import pytest
from PIL import Image
from scipy import stats

from benchmarks.findings.module_tests import BRANCH, SUM
from benchmarks.module_tests import main
from flaxdrop.theory.simulation import jackknife

FALSE_ALARM = 1e-3  # of the whole comparison, were its draws drawn anew
DRAWS = 24

# Here most of the time is that of computing.
pytestmark = pytest.mark.optimised


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("module_tests")
    assert main(["--workdir", str(folder), "--batch", "1000", "--draws", str(DRAWS)]) == 0
    return folder


@pytest.fixture(scope="module")
def record(folder):
    return json.loads((folder / "module_tests.json").read_text())


def test_simulation_agrees_with_the_closed_forms(record):
    compared = [result for result in record["results"] if result["closed_form"] is not None]
    assert {result["test"] for result in compared} == {"figure1", BRANCH, SUM, "slots", "head"}
    assert len(compared) > 120
    # Student's t for each, Bonferroni over all.
    threshold = stats.t.isf(FALSE_ALARM / (2 * len(compared)), DRAWS - 1)
    for result in compared:
        assert abs(result["deviation"]) <= threshold, result
    assert abs(record["largest_deviation"]) == max(abs(result["deviation"]) for result in compared)


def test_the_comparison_would_find_a_form_that_is_1_percent_off(record):
    threshold = stats.t.isf(FALSE_ALARM / (2 * len(record["results"])), DRAWS - 1)
    errors = [
        result["estimate"]["error"] / result["estimate"]["ratio"] for result in record["results"]
    ]
    assert np.median(errors) * threshold < 0.01


def test_figures_are_pictures(folder):
    for name in ("figure1.png", "figure2.png"):
        with Image.open(folder / name) as image:
            assert min(image.size) > 500
            assert len(image.convert("RGB").getcolors(1 << 24)) > 100


@pytest.mark.parametrize(
    "arguments", [["--batch", "10"], ["--draws", "1"], ["--draws", "many"], ["--nothing"]]
)
def test_mistakes_are_said_in_one_line(arguments, tmp_path, capsys):
    assert main([*arguments, "--workdir", str(tmp_path / "new")]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert said.count("\n") == 1


def test_a_folder_that_cannot_be_written_is_said_in_one_line(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert main(["--workdir", str(tmp_path / "file" / "folder")]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_help_names_the_options(capsys):
    assert main(["--help"]) == 0
    said = capsys.readouterr().out
    assert all(option in said for option in ("--workdir", "--batch", "--draws"))


def test_the_jackknife_covers_a_known_ratio():
    generator = np.random.default_rng(0)
    missed = 0
    for _ in range(400):
        below = generator.uniform(1, 3, size=20)
        above = 0.5 * below + generator.normal(scale=0.1, size=20)
        estimate = jackknife(above, below)
        half = stats.t.ppf(0.975, 19) * estimate.error
        missed += abs(estimate.ratio - 0.5) > half
    # 5 % of 400 are 20; more than 40 or fewer than 5 happen once in 10^4.
    assert 5 <= missed <= 40
