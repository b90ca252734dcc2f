import re

import pytest

from benchmarks.uncertainty import main


def test_one_pass_and_many_masks_stand_side_by_side(trained_table, capsys):
    arguments = ["--run", str(trained_table), "--variant", "p6", "--samples", "5"]
    assert main(arguments) == 0
    said = capsys.readouterr().out
    means = r"(\d+\.\d+)(?: \[[^\]]*\])?"
    found = {
        name: [
            float(value)
            for line in said.splitlines()
            if line.startswith(name)
            for value in re.findall(means, line)
        ]
        for name in ("one pass", "5 masks")
    }
    assert found["one pass"] != found["5 masks"]
    for accuracy, nll, brier, error, chance in found.values():
        assert 0 <= accuracy <= 100
        assert nll > 0
        assert 0 <= brier <= 2
        assert 0 <= error <= 100
        assert 0 < chance < 100
    assert "Mutual information over 5 masks: " in said
    assert (trained_table / "reliability-p6.png").stat().st_size > 10_000
    assert main(arguments) == 0
    assert capsys.readouterr().out == said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--variant", "p9"], "error: variant: must be one of none, "),
        (["--variant", "none"], "error: variant: must have dropout, got 'none'"),
        (["--variant", "p6", "--samples", "0"], "error: samples: must be at least 1, got 0"),
    ],
)
def test_mistakes_are_said_in_one_line(trained_table, arguments, said, capsys):
    assert main(["--run", str(trained_table), *arguments]) == 2
    err = capsys.readouterr().err
    assert err.startswith(said)
    assert err.count("\n") == 1
