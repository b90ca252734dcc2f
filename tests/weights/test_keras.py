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


def test_what_lies_in_other_files_or_was_never_written_is_refused(tmp_path):
    secret = tmp_path / "secret"
    secret.write_bytes(b"x" * 64)
    elsewhere = tmp_path / "elsewhere.h5"
    with h5py.File(elsewhere, "w") as file:
        file["a"] = np.zeros(4)
    layout = h5py.VirtualLayout((4,), "f8")
    layout[:] = h5py.VirtualSource(elsewhere, "a", (4,))
    made = {
        "in another file": lambda own: own.create_dataset(
            "w", (16,), "f4", external=[(secret, 0, 64)]
        ),
        "link into another file": lambda own: own.__setitem__(
            "w", h5py.ExternalLink(elsewhere, "a")
        ),
        "from other files": lambda own: own.create_virtual_dataset("w", layout),
        "never written": lambda own: own.create_dataset("w", (4,), "f4"),
        "must be so that the weights fit": lambda own: own.create_dataset(
            "w", (10**6, 10**6), "f8", chunks=(10, 10)
        ),
    }
    for number, (words, make) in enumerate(made.items()):
        path = tmp_path / f"{number}.h5"
        with h5py.File(path, "w") as file:
            write(file, {"a": {}})
            file["a"].attrs["weight_names"] = [b"w"]
            make(file["a"])
        with pytest.raises(ValueError, match=words):
            read_keras(path)
