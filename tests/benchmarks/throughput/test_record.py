import json

from benchmarks.throughput.contest import Result
from benchmarks.throughput.contests import Measurement
from benchmarks.throughput.record import record, section


def row(kind="cpu", value=2.0):
    about = {
        "finished_at": "2026-01-02T03:04:05+00:00",
        "versions": {"jax": "1", "flax": "2"},
        "device_kind": kind,
        "processor": "some",
        "cores": [0, 1],
        "precision": "float32",
        "rounds": 2,
        "seconds": 1.0,
    }
    measurements = [
        Measurement("speed", "at least 1x", value, 1.5, 2.5, reached=True),
        Measurement("memory", "at most 1x", 3.0, reached=False),
        Measurement("torch", "", note="no torch"),
    ]
    contests = {
        "baselines": {"us": Result((5.0,), {"peak_bytes": 7e6}), "torch": Result((), {}, "no")}
    }
    return json.loads(json.dumps(record(about, measurements, contests)))


def test_a_section_tells_what_was_asked_and_what_was_reached():
    text = section([row()])
    assert "| speed | 2 [1.5, 2.5] | at least 1x | yes |" in text
    assert "| memory | 3 | at most 1x | **no** |" in text
    assert "| torch | no torch | - | - |" in text
    assert "| baselines | us | 5 | - | - | - | 7 MB |" in text
    assert "| baselines | torch | no |" in text


def test_the_newest_run_of_a_device_stands_for_it():
    text = section([row(value=9.0), row(value=4.0), row(kind="gpu", value=8.0)])
    assert "| speed | 9 " not in text
    assert "| speed | 4 " in text
    assert "| speed | 8 " in text


def test_text_of_a_row_leaves_no_cell_and_is_no_html():
    bad = "<script>x</script> | y\n# title\x1b[31m"
    text = section([{**row(), "processor": bad, "contests": {bad: {}}}])
    assert "\x1b" not in text
    assert "\n# title" not in text
    assert "<script>" not in text.replace(r"\<script", "")
