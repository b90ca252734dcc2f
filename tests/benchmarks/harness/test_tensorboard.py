"""Curves for TensorBoard, read back from its files."""

import struct

import pytest
from tensorboardX.proto.event_pb2 import Event

from benchmarks.harness import tensorboard
from flaxdrop.training.steps import METRICS


@pytest.fixture
def curves_in():
    """Metric -> (epoch, value) of the files of a cell, without what was replaced."""

    def read(folder):
        found = {}
        for file in sorted(folder.iterdir()):
            for event in events(file.read_bytes()):
                if event.HasField("session_log"):  # a writer that goes on at this step
                    for values in found.values():
                        values[:] = [pair for pair in values if pair[0] < event.step]
                for value in event.summary.value:
                    found.setdefault(value.tag, []).append((event.step, value.simple_value))
        return found

    return read


def events(content):
    at = 0
    while at < len(content):
        (length,) = struct.unpack_from("<Q", content, at)
        yield Event.FromString(content[at + 12 : at + 12 + length])
        at += 16 + length


def test_the_curves_of_each_cell_are_those_of_the_ledger(command, folder, rows_in, curves_in):
    assert command("--workdir", "run", "--tensorboard").status == 0
    for row in rows_in(folder / "run"):
        cell = folder / "run" / "tensorboard" / f"{row['variant']}-seed{row['seed']}"
        found = curves_in(cell)
        assert set(found) == set(METRICS)
        for name, values in found.items():
            assert [epoch for epoch, _ in values] == [1, 2]
            assert [value for _, value in values] == pytest.approx(row["curve"][name], rel=1e-6)


def test_an_epoch_that_is_trained_again_is_not_shown_twice(tmp_path, curves_in):
    for epochs in ((1, 2, 3), (2, 3)):  # it was stopped, and went on before where it was
        writer = tensorboard.CurveWriter(tmp_path)
        for epoch in epochs:
            writer("cell", epoch, [float(epoch)] * len(METRICS))
    assert [epoch for epoch, _ in curves_in(tmp_path / "cell")[METRICS[0]]] == [1, 2, 3]


def test_the_package_is_asked_for_before_training(command, monkeypatch, folder):
    monkeypatch.setattr(tensorboard.importlib.util, "find_spec", lambda _: None)
    found = command("--workdir", "run", "--tensorboard")
    assert found.status == 2
    assert found.err.startswith("error: tensorboardX: must be installed")
    assert found.err.count("\n") == 1
    assert not (folder / "run").exists()
