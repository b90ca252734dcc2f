"""A file of torch is read without torch, and nothing that its pickle names is called."""

import io
import os
import pathlib
import pickle
import struct
import zipfile

import ml_dtypes
import numpy as np
import pytest

from flaxdrop.models.torch_file import LEGACY_MAGIC, read_torch

FOLDER = pathlib.Path(__file__).parent


class Name:
    """Pickled, the global `module.name`; with arguments, its call."""

    def __init__(self, module, name, *arguments):
        self.module, self.name, self.arguments = module, name, arguments


class Reference:
    """Pickled, a persistent id."""

    def __init__(self, *pid):
        self.pid = pid


class Pickler(pickle._Pickler):
    """Writes names of functions and classes that need not exist here."""

    def persistent_id(self, obj):
        return obj.pid if isinstance(obj, Reference) else None

    def save_name(self, obj):
        self.write(f"c{obj.module}\n{obj.name}\n".encode())
        if obj.arguments:
            self.save(obj.arguments)
            self.write(pickle.REDUCE)

    dispatch = pickle._Pickler.dispatch | {Name: save_name}


def pickled(content):
    stream = io.BytesIO()
    Pickler(stream, protocol=2).dump(content)
    return stream.getvalue()


def storage(key, length, dtype="FloatStorage"):
    return Reference("storage", Name("torch", dtype), key, "cpu", length)


def tensor(where, offset, shape, strides, rebuild="_rebuild_tensor_v2"):
    arguments = where, offset, shape, strides
    if rebuild == "_rebuild_tensor_v2":
        arguments += (False, Name("collections", "OrderedDict", *()))
    return Name("torch._utils", rebuild, *arguments)


@pytest.fixture
def write(tmp_path):
    """Writes a zip archive as torch does, from a pickle and the bytes of the storages."""

    def write(content, storages=(), compression=zipfile.ZIP_STORED, **more):
        path = tmp_path / "state.pth"
        with zipfile.ZipFile(path, "w", compression) as archive:
            archive.writestr("state/data.pkl", pickled(content))
            for key, data in dict(storages).items():
                archive.writestr(f"state/data/{key}", data)
            for name, data in more.items():
                archive.writestr(f"state/{name}", data)
        return path

    return write


def refused(path, match):
    with pytest.raises(ValueError, match=match) as caught:
        read_torch(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def test_both_kinds_of_file_hold_the_same_numbers():
    new, old = read_torch(FOLDER / "densenet.pth"), read_torch(FOLDER / "densenet_legacy.pth")
    assert "features.denseblock1.denselayer1.norm.1.weight" in old
    weights = [array for name, array in new.items() if not name.endswith("num_batches_tracked")]
    for ours, theirs in zip(weights, old.values(), strict=True):
        assert ours.dtype == np.float32
        np.testing.assert_array_equal(ours, theirs)


def test_shapes_dtypes_and_strides(write):
    numbers = np.arange(12, dtype=np.float32)
    content = {
        "rows": tensor(storage("0", 12), 0, (3, 4), (4, 1)),
        "columns": tensor(storage("0", 12), 0, (4, 3), (1, 4)),
        "part": tensor(storage("0", 12), 5, (2,), (1,), "_rebuild_tensor"),
        "scalar": tensor(storage("1", 1, "LongStorage"), 0, (), ()),
        "half": tensor(storage("2", 2, "BFloat16Storage"), 0, (2,), (1,)),
    }
    storages = {
        "0": numbers.tobytes(),
        "1": struct.pack("<q", 7),
        "2": np.array([1, -2], ml_dtypes.bfloat16).tobytes(),
    }
    found = read_torch(write(content, storages))
    assert list(found) == list(content)
    np.testing.assert_array_equal(found["rows"], numbers.reshape(3, 4))
    np.testing.assert_array_equal(found["columns"], numbers.reshape(3, 4).T)
    np.testing.assert_array_equal(found["part"], [5, 6])
    assert found["scalar"].shape == ()
    assert found["scalar"] == 7
    np.testing.assert_array_equal(found["half"].astype(np.float32), [1, -2])


def test_file_from_a_gpu_before_torch_1_6(tmp_path):
    reference = Reference("storage", Name("torch.cuda", "FloatStorage"), "94", "cuda:0", 3, None)
    content = {"weight": tensor(reference, 0, (3,), (1,), "_rebuild_tensor")}
    path = tmp_path / "old.pth"
    data = np.array([1, 2, 3], np.float32).tobytes()
    parts = [LEGACY_MAGIC, 1001, {"little_endian": True}, content, ["94"]]
    path.write_bytes(b"".join(map(pickled, parts)) + struct.pack("<q", 3) + data)
    np.testing.assert_array_equal(read_torch(path)["weight"], [1, 2, 3])


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("os", "system"),
        ("posix", "system"),
        ("builtins", "eval"),
        ("builtins", "getattr"),
        ("subprocess", "Popen"),
        ("torch", "load"),
        ("torch.hub", "load"),
        ("numpy", "frombuffer"),
        ("collections", "namedtuple"),
        ("collections", "OrderedDict.__init__"),
    ],
)
def test_functions_are_refused(write, tmp_path, module, name):
    trace = tmp_path / "trace"
    path = write({"weight": Name(module, name, f"touch {trace}")})
    refused(path, f"refused {module}.{name}, only tensors are read")
    assert not trace.exists()


def test_what_is_refused_would_have_run(tmp_path):
    trace = tmp_path / "trace"
    pickle.loads(pickled(Name("os", "system", f"touch {trace}")))
    assert trace.exists()


@pytest.mark.parametrize("part", range(5))
def test_functions_are_refused_in_every_part_of_an_old_file(tmp_path, part):
    trace, path = tmp_path / "trace", tmp_path / "old.pth"
    parts = [LEGACY_MAGIC, 1001, {"little_endian": True}, {}, []]
    parts[part] = Name("os", "system", f"touch {trace}")
    path.write_bytes(b"".join(map(pickled, parts)))
    refused(path, "refused os.system")
    assert not trace.exists()


def state_set_on(name):
    """A pickle that sets an attribute of what `name` stands for."""
    body = b"\x80\x02" + f"c{name}\n".encode()
    return body + b"N}X\x08\x00\x00\x00__call__X\x01\x00\x00\x00xs\x86b."


@pytest.mark.parametrize(
    "name", ["torch._utils\n_rebuild_tensor_v2", "torch\nFloatStorage", "collections\nOrderedDict"]
)
def test_a_pickle_changes_nothing_here(tmp_path, name):
    path = tmp_path / "state.pth"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("state/data.pkl", state_set_on(name))
    refused(path, "__call__")
    assert len(read_torch(FOLDER / "densenet.pth")) > 0


@pytest.mark.parametrize(
    ("offset", "shape", "strides"),
    [
        (0, (5,), (1,)),
        (4, (), ()),
        (1, (2, 2), (2, 1)),
        (0, (2,), (1 << 40,)),
        (3, (2,), (-1,)),
        (-1, (2,), (1,)),
        (0, (-2,), (1,)),
        (0, (2, 2), (1,)),
        (0, (0,), (1,)),
        (0, (2.0,), (1,)),
    ],
)
def test_no_tensor_reaches_out_of_its_storage(write, offset, shape, strides):
    content = {"weight": tensor(storage("0", 4), offset, shape, strides)}
    refused(write(content, {"0": bytes(16)}), "not a readable state dict")


def test_storage_shorter_than_it_says(write):
    content = {"weight": tensor(storage("0", 4), 0, (4,), (1,))}
    refused(write(content, {"0": bytes(12)}), "'weight' does not lie in its 3 numbers")


@pytest.mark.parametrize(
    ("content", "match"),
    [
        ([1, 2], "it holds no dict"),
        ({"epoch": 3}, "'epoch' is not a tensor"),
        ({3: tensor(storage("0", 1), 0, (1,), (1,))}, "3 is not a tensor"),
        ({"weight": tensor("0", 0, (1,), (1,))}, "a tensor without a storage"),
        ({"weight": Reference("module", "x")}, "not a readable"),
    ],
)
def test_not_a_state_dict(write, content, match):
    refused(write(content, {"0": bytes(4)}), match)


def test_archives_that_torch_does_not_write(write, tmp_path):
    refused(write({}, byteorder=b"big"), "big-endian")
    refused(write({}, compression=zipfile.ZIP_DEFLATED), "compressed")
    path = tmp_path / "other.pth"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("state/weights.txt", "1 2 3")
    refused(path, "no data.pkl")


@pytest.mark.parametrize("name", ["densenet.pth", "densenet_legacy.pth"])
def test_cut_off_files(tmp_path, name):
    whole = (FOLDER / name).read_bytes()
    path = tmp_path / name
    for length in [0, 1, 3, 4, 40, 400, 4000, len(whole) // 2, len(whole) - 1]:
        path.write_bytes(whole[:length])
        refused(path, "not a readable state dict")


@pytest.mark.parametrize("name", ["densenet.pth", "densenet_legacy.pth"])
def test_damaged_files_give_one_line_or_tensors(tmp_path, name):
    whole = (FOLDER / name).read_bytes()
    path, random = tmp_path / name, np.random.default_rng(0)
    complaints = []
    for _ in range(100):
        damaged = bytearray(whole)
        for place in random.integers(0, len(whole), 20):
            damaged[place] = random.integers(256)
        path.write_bytes(damaged)
        try:
            read_torch(path)
        except ValueError as error:
            complaints.append(str(error))
    assert complaints
    assert not [complaint for complaint in complaints if "\n" in complaint]


def test_no_such_file(tmp_path):
    refused(tmp_path / "none.pth", "No such file")
    refused(tmp_path, os.strerror(21))
