"""Python functions as operations of a program on the CPU, by XLA's foreign function interface.

Unlike a host callback, such an operation sees the buffers of the program where they are, and its
program can be kept in the compilation cache. The structures are those of `xla/ffi/api/c_api.h`,
up to the last field that is used; jaxlib has the file in `jax.ffi.include_dir()`.
"""

import ctypes
import dataclasses
import functools
import pathlib
import re
from collections.abc import Callable, Sequence
from ctypes import POINTER, c_char_p, c_int, c_int64, c_size_t, c_uint32, c_void_p
from typing import Any

import jax


@dataclasses.dataclass(frozen=True)
class Buffer:
    """An array of the program.

    Attributes:
      address: of its first value; they follow each other in row-major order.
      shape: of it.
    """

    address: int
    shape: tuple[int, ...]


Function = Callable[[Sequence[Buffer], Sequence[Buffer], tuple[int, ...]], None]


def register(name: str, function: Function) -> None:
    """Makes a function the target `name` of `jax.ffi.ffi_call`, on CPUs, for good.

    Args:
      name: unique in the process.
      function: (operands, results, numbers), which writes the results; `numbers` is the int64 array
        that the call has as its one attribute. What it raises, the program raises.
    """

    @_HANDLER
    def handle(frame: Any) -> int | None:
        call = frame.contents
        try:
            if call.extension:  # not a call, but the question whether we understand each other
                _introduce(call)
                return None
            numbers = ctypes.cast(call.attributes.items[0], POINTER(_Array)).contents
            values = tuple(numbers.values[: numbers.size])
            function(_buffers(call.operands), _buffers(call.results), values)
        except BaseException as error:  # what left a callback would be lost
            return _error(call, f"{name}: {str(error) or type(error).__name__}")
        return None

    _KEPT.append(handle)
    jax.ffi.register_ffi_target(name, jax.ffi.pycapsule(handle), platform="cpu")


def _buffers(arrays: Any) -> list[Buffer]:
    buffers = (ctypes.cast(arrays.items[i], POINTER(_Buffer)).contents for i in range(arrays.count))
    return [Buffer(each.data, tuple(each.sizes[: each.rank])) for each in buffers]


def _introduce(call: Any) -> None:
    extension = ctypes.cast(call.extension, POINTER(_MetadataExtension)).contents
    assert extension.type == _METADATA
    version = extension.metadata.contents.version
    version.major, version.minor = _interface()


@functools.cache
def _interface() -> tuple[int, int]:
    """The version of the interface; what is used of it is the same from 0.1 to 0.3."""
    header = pathlib.Path(jax.ffi.include_dir(), "xla", "ffi", "api", "c_api.h").read_text()
    found = dict(re.findall(r"#define XLA_FFI_API_(MAJOR|MINOR) (\d+)", header))
    return int(found["MAJOR"]), int(found["MINOR"])


def _error(call: Any, message: str) -> int:
    words = _ErrorWords(ctypes.sizeof(_ErrorWords), None, message.encode(), _INTERNAL)
    return call.api.contents.create_error(ctypes.byref(words))


_METADATA = 1
_INTERNAL = 13
_HEAD: list[Any] = [("struct_size", c_size_t), ("extension", c_void_p)]
_LIST: list[Any] = [*_HEAD, ("count", c_int64), ("types", c_void_p)]


class _ErrorWords(ctypes.Structure):
    _fields_ = [*_HEAD, ("message", c_char_p), ("code", c_int)]


class _Version(ctypes.Structure):
    _fields_ = [*_HEAD, ("major", c_int), ("minor", c_int)]


class _Api(ctypes.Structure):
    _fields_ = [
        *_HEAD,
        ("version", _Version),
        ("internal", c_void_p),
        ("create_error", ctypes.CFUNCTYPE(c_void_p, POINTER(_ErrorWords))),
    ]


class _Metadata(ctypes.Structure):
    _fields_ = [("struct_size", c_size_t), ("version", _Version), ("traits", c_uint32)]


class _MetadataExtension(ctypes.Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("type", c_int),
        ("next", c_void_p),
        ("metadata", POINTER(_Metadata)),
    ]


class _Buffer(ctypes.Structure):
    _fields_ = [
        *_HEAD,
        ("dtype", c_int),
        ("data", c_void_p),
        ("rank", c_int64),
        ("sizes", POINTER(c_int64)),
    ]


class _Array(ctypes.Structure):
    _fields_ = [("dtype", c_int), ("size", c_size_t), ("values", POINTER(c_int64))]


class _Buffers(ctypes.Structure):
    _fields_ = [*_LIST, ("items", POINTER(c_void_p))]


class _Attributes(ctypes.Structure):
    _fields_ = [*_LIST, ("names", c_void_p), ("items", POINTER(c_void_p))]


class _Call(ctypes.Structure):
    _fields_ = [
        *_HEAD,
        ("api", POINTER(_Api)),
        ("context", c_void_p),
        ("stage", c_int),
        ("operands", _Buffers),
        ("results", _Buffers),
        ("attributes", _Attributes),
    ]


_HANDLER = ctypes.CFUNCTYPE(c_void_p, POINTER(_Call))
_KEPT: list[Any] = []  # what XLA points to must not be collected
