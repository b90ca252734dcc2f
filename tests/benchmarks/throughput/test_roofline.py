import argparse

import pytest

from benchmarks.throughput import roofline, workload


def test_the_bytes_grow_with_the_blocks_and_with_their_digits():
    shallow, deep = (workload.WORKLOADS[name] for name in ("preresnet20", "preresnet110"))
    bytes_of = roofline.bytes_per_image
    assert bytes_of(deep, "float32") == 6 * bytes_of(shallow, "float32")
    assert bytes_of(deep, "bfloat16") == bytes_of(deep, "float32") / 2


@pytest.mark.parametrize("kind", ["products", "bytes"])
def test_a_round_counts_what_it_does(kind, monkeypatch):
    monkeypatch.setitem(roofline._SHAPES, kind, ((64, 64),) * 2)
    options = argparse.Namespace(kind=kind, precision="float32", seconds=0.01)
    work, about = roofline.prepare(options)
    devices = len(roofline.choose_devices(0))
    unit = {"products": 2 * 64**3, "bytes": 2 * 4 * 64**2}[kind] * devices / 1e9
    assert work() / unit == pytest.approx(round(work() / unit))
    assert about["compile_seconds"] > 0
