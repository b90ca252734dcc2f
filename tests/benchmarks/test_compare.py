import json
import re
import shutil

import pytest

from benchmarks.compare import main
from flaxdrop.results.row import Row


@pytest.fixture
def changed(trained_table, tmp_path):
    """Another run of the table: p6 is half a point better at every seed, and made elsewhere."""
    folder = tmp_path / "other"
    shutil.copytree(trained_table, folder)
    lines = []
    for line in (folder / "ledger.jsonl").read_text().splitlines():
        fields = json.loads(line)
        del fields["row_digest"], fields["schema"]
        fields["device_kind"] = "other"
        if fields["variant"] == "p6":
            curve = fields["curve"]["test_accuracy"]
            curve[-1] += 0.005 * (1 + fields["seed"])
            fields |= {"last_accuracy": curve[-1], "digest": "1" * 64, "right": []}
            fields |= {"best_accuracy": max(curve), "best_epoch": 1 + curve.index(max(curve))}
        lines.append(Row(**fields).to_json())
    (folder / "ledger.jsonl").write_text("\n".join(lines) + "\n")
    return folder


def test_a_run_does_not_differ_from_itself(trained_table, capsys):
    assert main([str(trained_table), str(trained_table / "ledger.jsonl")]) == 0
    said = capsys.readouterr().out
    assert "made with the same settings and versions" in said
    for variant in ("none", "p0", "p4", "p6"):
        assert re.search(
            rf"^{variant} .* \+0\.00 \[\+0\.00, \+0\.00\] +1\.000 +2 of 2$", said, re.M
        )


def test_what_differs_is_said(trained_table, changed, capsys):
    assert main([str(trained_table), str(changed)]) == 0
    said = capsys.readouterr().out
    assert re.search(r"^  device: .* \| other$", said, re.M)
    assert re.search(r"^p6 .* \+0\.75 \[.*\] .* 0 of 2$", said, re.M)
    assert re.search(r"^p4 .* \+0\.00 \[\+0\.00, \+0\.00\] +1\.000 +2 of 2$", said, re.M)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "FOLDER: must be given"),
        (("RUN",), "OTHER: must be given"),
        (("RUN", "nowhere"), "run: must be a work folder or a ledger, got nowhere"),
        (("RUN", "RUN", "RUN"), "unexpected argument"),
    ],
)
def test_mistakes_are_said_in_one_line(trained_table, words, said, capsys):
    assert main([str(trained_table) if word == "RUN" else word for word in words]) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"error: {said}")
    assert err.count("\n") == 1
