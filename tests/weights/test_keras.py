import re
import sys

import h5py
import numpy as np
import pytest

from flaxdrop.weights.keras import read_keras


def write(group, layers, parts=None):
    """Lays out layer -> weight's path -> array as Keras does; names in one attribute or several."""
    names = [layer.encode() for layer in layers]
    if parts is None:
        group.attrs["layer_names"] = names
    else:
        for number, part in enumerate(np.array_split(names, parts)):
            group.attrs[f"layer_names{number}"] = part
    for layer, weights in layers.items():
        own = group.create_group(layer)
        own.attrs["weight_names"] = [path.encode() for path in weights]
        for path, array in weights.items():
            own[path] = array


LAYERS = {
    "input_1": {},
    "conv1/conv": {"conv1/conv/kernel:0": np.arange(4.0).reshape(2, 2)},
    "conv1/bn": {"conv1/bn/gamma:0": np.ones(2), "conv1/bn/beta:0": np.zeros(2)},
    "bn": {"bn_1/gamma:0": np.full(3, 2.0)},
    "top": {"top/kernel": np.full((1, 2), 3.0)},
}
NAMES = ["conv1/conv/kernel", "conv1/bn/gamma", "conv1/bn/beta", "bn/gamma", "top/kernel"]


@pytest.mark.parametrize("parts", [None, 1, 3])
def test_reads_every_weight_in_order(tmp_path, parts):
    path = tmp_path / "weights.h5"
    with h5py.File(path, "w") as file:
        write(file, LAYERS, parts)
    weights = read_keras(path)
    assert list(weights) == NAMES
    np.testing.assert_array_equal(weights["conv1/conv/kernel"], [[0, 1], [2, 3]])
    np.testing.assert_array_equal(weights["bn/gamma"], [2, 2, 2])


def test_reads_a_whole_model(tmp_path):
    path = tmp_path / "model.h5"
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = "{}"
        write(file.create_group("model_weights"), LAYERS)
        file.create_group("optimizer_weights")
    assert list(read_keras(path)) == NAMES


def refused(path, match):
    with pytest.raises(ValueError, match=match) as caught:
        read_keras(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_model_inside_a_model(tmp_path):
    path = tmp_path / "model.h5"
    inner = {"a/kernel:0": np.ones(1), "b/kernel:0": np.ones(1)}
    with h5py.File(path, "w") as file:
        write(file, {"densenet": inner})
    refused(path, "two weights densenet/kernel")


def test_other_layouts(tmp_path):
    path = tmp_path / "new.weights.h5"
    with h5py.File(path, "w") as file:
        file["layers/conv2d/vars/0"] = np.ones(3)
    refused(path, "no layer_names")
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [b"conv"]
    refused(path, "conv")


def test_unreadable_files(tmp_path):
    refused(tmp_path / "none.h5", "No such file")
    path = tmp_path / "text.h5"
    path.write_text("weights\n")
    refused(path, "not an .h5 file")
    with h5py.File(path, "w") as file:
        write(file, LAYERS)
    path.write_bytes(path.read_bytes()[:3000])
    refused(path, "not a")


def test_without_h5py(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "h5py", None)
    refused(tmp_path / "weights.h5", re.escape('pip install "flaxdrop[pretrained]"'))
