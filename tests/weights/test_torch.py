"""torch reads the files, and is not among what the tests need: something stands in for it."""

import sys
import types

import numpy as np
import pytest

from flaxdrop.weights.torch import read_torch


class Tensor:
    """What is asked of a tensor of torch: one that holds half precision gives no array."""

    def __init__(self, array, half=False):
        self.array, self.half = array, half

    def detach(self):
        return self

    def numel(self):
        return self.array.size

    def element_size(self):
        return self.array.itemsize

    def untyped_storage(self):
        base = self.array if self.array.base is None else self.array.base
        base = base if hasattr(base, "nbytes") else base.base  # of a strided view
        return types.SimpleNamespace(nbytes=lambda: base.nbytes)

    def is_floating_point(self):
        return self.half or self.array.dtype.kind == "f"

    def float(self):
        return Tensor(self.array.astype(np.float32))

    def numpy(self):
        if self.half:
            raise TypeError("Got unsupported ScalarType BFloat16")
        return self.array


STATE = {"weight": Tensor(np.ones((2, 3)), half=True), "count": Tensor(np.array(7))}


@pytest.fixture
def read(tmp_path, monkeypatch):
    """Reads a file in which torch finds this content, or whose reading raises it."""

    def read(content):
        def load(file, **options):
            assert options == {"map_location": "cpu", "weights_only": True}
            assert file.read() == b"bytes"
            if isinstance(content, Exception):
                raise content
            return content

        module = types.SimpleNamespace(load=load, is_tensor=lambda value: isinstance(value, Tensor))
        monkeypatch.setitem(sys.modules, "torch", module)
        path = tmp_path / "state.pth"
        path.write_bytes(b"bytes")
        return read_torch(path)

    return read


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: state,
        lambda state: {"state_dict": state, "epoch": 3, "optimizer": {"state": {0: dict(state)}}},
        lambda state: {"model": {"model_state_dict": state}, "args": {"lr": 0.1}, "best": None},
    ],
)
def test_a_state_dict_is_found_wherever_it_is(read, wrap):
    found = read(wrap(STATE))
    assert list(found) == ["weight", "count"]
    np.testing.assert_array_equal(found["weight"], np.ones((2, 3), np.float32))
    assert (found["weight"].dtype, found["count"]) == (np.float32, 7)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"model": STATE, "ema": STATE}, r"must hold one, got model and ema\)$"),
        ({"epoch": 3}, r"must hold one, got none\)$"),
        ([1, 2], "got none"),
        ({}, "got none"),
        (EOFError(), r"\(EOFError\)$"),
        (ValueError("no zip\nSee https://"), r"\(no zip\)$"),
        (
            RuntimeError("Failed. GLOBAL os.system is blocked. Trust it?"),
            r"\(GLOBAL os.system is b",
        ),
    ],
)
def test_what_holds_no_state_dict_is_refused_in_one_line(read, content, said):
    with pytest.raises(
        ValueError, match=r"^weights .*state.pth: not a readable state dict"
    ) as error:
        read(content)
    assert error.match(said)
    assert "\n" not in str(error.value)


def test_without_torch_and_without_a_file(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    path = tmp_path / "state.pth"
    with pytest.raises(ValueError, match=r"state.pth: No such file"):
        read_torch(path)
    path.touch()
    with pytest.raises(ValueError, match=r'\.pth needs torch; pip install "flaxdrop\[torch\]"$'):
        read_torch(path)


def test_a_view_that_repeats_a_few_bytes_without_end_is_refused(read):
    few = np.ones(1, np.float32)
    many = np.lib.stride_tricks.as_strided(few, (1_000_000_000,), (0,))
    with pytest.raises(ValueError, match="weight is larger than what the file holds"):
        read({"weight": Tensor(many)})
