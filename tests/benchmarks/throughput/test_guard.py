"""Ratios that a careless change would spoil; far from what is asked: no busy machine fails."""

import argparse
import statistics
import time

import pytest

from benchmarks.throughput import layer, ours

pytestmark = [pytest.mark.optimised, pytest.mark.slow]


def rounds(*works):
    """Seconds a unit of work, the works in turn; the medians."""
    times = [[] for _ in works]
    for _ in range(5):
        for work, own in zip(works, times, strict=True):
            began = time.perf_counter()
            done = work()
            own.append((time.perf_counter() - began) / done)
    return [statistics.median(own) for own in times]


def test_dropout_is_twice_as_fast_as_that_of_flax():
    works = [
        layer.prepare(argparse.Namespace(kind=kind, seconds=0.1))[0]
        for kind in ("flaxdrop", "flax")
    ]
    mine, flax = rounds(*works)
    assert 2 * mine < flax


def test_all_slots_cost_less_than_half_a_step(monkeypatch):
    monkeypatch.setitem(
        ours.workload.WORKLOADS, "small", ours.Workload(depth=8, batch=16, augmented=True)
    )
    common = {
        "workload": "small",
        "rate": 0.1,
        "fixed_batch": False,
        "precision": "float32",
        "seconds": 0.3,
        "devices": 1,
        "cells_per_device": 1,
    }
    works = [ours.prepare(argparse.Namespace(slots=slots, **common))[0] for slots in ("p6", "all")]
    p6, every = rounds(*works)
    assert every < 1.5 * p6
