"""The tensors of a file that `torch.save` wrote, without torch and without running its pickle.

Such a file is a pickle, in which tensors refer to storages, and the bytes of the storages beside
it: in a zip archive since torch 1.6, one after the other before (torchvision's first checkpoints
are of that kind). A pickle names the functions that rebuild what it holds, and may name any
function; here only those below exist, and none of them does more than to note its arguments.
"""

import collections
import io
import pathlib
import pickle
import zipfile
from typing import IO, Any, NamedTuple

import ml_dtypes
import numpy as np

# The first of the pickles in a file of torch before 1.6.
LEGACY_MAGIC = 0x1950A86A20F9469CFC6C

DTYPES: dict[str, Any] = {
    "DoubleStorage": np.float64,
    "FloatStorage": np.float32,
    "HalfStorage": np.float16,
    "BFloat16Storage": ml_dtypes.bfloat16,
    "LongStorage": np.int64,
    "IntStorage": np.int32,
    "ShortStorage": np.int16,
    "CharStorage": np.int8,
    "ByteStorage": np.uint8,
    "BoolStorage": np.bool_,
}


def read_torch(path: str | pathlib.Path) -> dict[str, np.ndarray]:
    """Reads a state dict: all tensors of the file by name, in its order.

    Args:
      path: what `torch.save(model.state_dict(), path)` wrote, with any torch since 0.1.10.

    Raises:
      ValueError: the file cannot be read, is damaged, holds anything but a dict of tensors, or its
        pickle names anything but tensors.
    """
    path = pathlib.Path(path)
    try:
        with path.open("rb") as file:
            zipped = file.read(4) == b"PK\x03\x04"
            file.seek(0)
            content, storages = _zipped(file) if zipped else _legacy(file)
        if not isinstance(content, dict):
            raise ValueError("it holds no dict")
        return {name: _array(name, tensor, storages) for name, tensor in content.items()}
    except OSError as error:
        raise ValueError(f"weights {path}: {error.strerror or error}") from error
    except Exception as error:  # what damaged bytes raise in pickle and zipfile is open-ended
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise ValueError(f"weights {path}: not a readable state dict ({reason})") from error


class _Storage(NamedTuple):
    key: str
    dtype: np.dtype
    length: int


class _Tensor(NamedTuple):
    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class _Rebuild:
    # Not a function, for a pickle may set attributes of whatever it has named.
    __slots__ = ()

    def __call__(self, storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> _Tensor:
        if not isinstance(storage, _Storage):
            raise ValueError("a tensor without a storage")
        return _Tensor(storage, offset, shape, strides)


# For the same reason a dtype stands as a string, until the storage is made.
_KNOWN: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): collections.OrderedDict,
    ("torch._utils", "_rebuild_tensor"): _Rebuild(),
    ("torch._utils", "_rebuild_tensor_v2"): _Rebuild(),
    **{(module, name): name for module in ("torch", "torch.cuda") for name in DTYPES},
}


class _TensorUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _KNOWN:
            raise ValueError(f"refused {module}.{name}, only tensors are read")
        return _KNOWN[module, name]

    def persistent_load(self, pid: Any) -> _Storage:
        kind, dtype, key, _, length, *views = pid
        if kind != "storage" or any(views):
            raise ValueError("refers to something that is not a whole storage")
        return _Storage(str(key), np.dtype(DTYPES[dtype]), int(length))


def _zipped(file: IO[bytes]) -> tuple[Any, dict[str, bytes]]:
    with zipfile.ZipFile(file) as archive:
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
            raise ValueError("compressed entries, which torch does not write")
        entries = {name.partition("/")[2]: archive.read(name) for name in archive.namelist()}
    if entries.get("byteorder", b"little") != b"little":
        raise ValueError("big-endian numbers")
    if "data.pkl" not in entries:
        raise ValueError("no data.pkl in the archive")
    content = _TensorUnpickler(io.BytesIO(entries["data.pkl"])).load()
    return content, {name.removeprefix("data/"): entry for name, entry in entries.items()}


def _legacy(file: IO[bytes]) -> tuple[Any, dict[str, bytes]]:
    if _TensorUnpickler(file).load() != LEGACY_MAGIC:
        raise ValueError("neither a zip archive nor a file of torch before 1.6")
    _TensorUnpickler(file).load()  # the version of the protocol: there was but one
    if not _TensorUnpickler(file).load()["little_endian"]:
        raise ValueError("big-endian numbers")
    sizes: dict[str, int] = {}

    class Noting(_TensorUnpickler):
        def persistent_load(self, pid: Any) -> _Storage:
            storage = super().persistent_load(pid)
            sizes[storage.key] = storage.length * storage.dtype.itemsize
            return storage

    content = Noting(file).load()
    storages = {}
    for key in _TensorUnpickler(file).load():
        file.seek(8, io.SEEK_CUR)  # the length again
        storages[key] = file.read(sizes[key])
    return content, storages


def _array(name: Any, tensor: Any, storages: dict[str, bytes]) -> np.ndarray:
    if not isinstance(name, str) or not isinstance(tensor, _Tensor):
        raise ValueError(f"{name!r} is not a tensor")
    storage, offset, shape, strides = tensor
    units = np.frombuffer(storages[storage.key], storage.dtype)
    # as_strided checks nothing: what lies outside of the storage would be read from memory.
    numbers = (offset, *shape, *strides)
    if not all(isinstance(number, int) and number >= 0 for number in numbers):
        raise ValueError(f"{name!r} has impossible sides")
    last = offset + sum((side - 1) * step for side, step in zip(shape, strides, strict=True))
    if 0 in shape or last >= units.size:
        raise ValueError(f"{name!r} does not lie in its {units.size} numbers")
    bytes_apart = [step * units.itemsize for step in strides]
    return np.lib.stride_tricks.as_strided(units[offset:], shape, bytes_apart, writeable=False)
