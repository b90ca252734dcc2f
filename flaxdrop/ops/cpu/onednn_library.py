"""oneDNN, Intel's library of kernels for CPUs, through its C interface (`oneapi/dnnl/dnnl.h`)."""

import ctypes
import dataclasses
import functools
import importlib.metadata
from collections.abc import Mapping, Sequence
from ctypes import byref, c_int, c_int64, c_size_t, c_void_p
from typing import Any

# An argument's number in a call, and that of its layout in a query; a gradient has other ones.
_ARGUMENTS = {"image": 1, "from": 1, "kernel": 33, "result": 17, "to": 17, "scratch": 80}
_LAYOUTS = {"image": 129, "from": 129, "kernel": 131, "result": 133, "to": 133, "scratch": 136}
_GRADIENT_ARGUMENT, _GRADIENT_LAYOUT = 128, 1  # to be added
_CPU, _IN_ORDER, _SCRATCH_FROM_CALLER = 1, 1, 1
_STATUSES = {1: "out of memory", 2: "invalid arguments", 3: "unimplemented"}
_ALIGNMENT = 64


@functools.cache
def load() -> ctypes.PyDLL:
    """Loads the library, which comes with flaxdrop on Linux and x86-64.

    Its calls keep the interpreter's lock, for they are short: to release it and wait for it again
    takes longer, where several devices are at work. `_execute` is the exception.

    Raises:
      OSError: it is not here, or its OpenMP is not.
    """
    try:
        files = importlib.metadata.files("onednn-cpu-gomp") or []
    except importlib.metadata.PackageNotFoundError as error:
        raise OSError("oneDNN is not installed") from error
    paths = [file.locate() for file in files if file.name == "libdnnl.so.3"]
    if not paths:
        raise OSError("oneDNN is not installed")
    library = ctypes.PyDLL(str(paths[0]))
    library.dnnl_primitive_desc_query_md.restype = c_void_p
    library.dnnl_memory_desc_get_size.restype = c_size_t
    _openmp()
    return library


def use_threads(count: int) -> None:
    """Sets the number of threads of what the calling thread makes or runs from now on."""
    _openmp().omp_set_num_threads(count)


def make(create: str, *arguments: Any) -> c_void_p:
    """Calls a function that makes an object; it is kept for the life of the process.

    Args:
      create: the name of the function.
      *arguments: its arguments after the place for the result.

    Raises:
      RuntimeError: the library could not make it.
    """
    made = c_void_p()
    _check(load()[create](byref(made), *arguments))
    return made


def sizes(*values: int) -> Any:
    """Converts numbers to the array type that the library takes."""
    return (c_int64 * len(values))(*values)


def allocate(layout: c_void_p) -> Any:
    """Allocates memory for an array of this layout."""
    return ctypes.create_string_buffer(load().dnnl_memory_desc_get_size(layout) + _ALIGNMENT)


@functools.cache
def engine() -> c_void_p:
    """The engine of the library for the CPU."""
    return make("dnnl_engine_create", _CPU, c_size_t(0))


@functools.cache
def _stream() -> c_void_p:
    return make("dnnl_stream_create", engine(), _IN_ORDER)


@functools.cache
def attributes() -> c_void_p:
    """Attributes that take scratch memory from the caller: then a primitive serves all threads."""
    attributes = make("dnnl_primitive_attr_create")
    _check(load().dnnl_primitive_attr_set_scratchpad_mode(attributes, _SCRATCH_FROM_CALLER))
    return attributes


@dataclasses.dataclass(frozen=True)
class Primitive:
    """A computation that the library can run.

    Attributes:
      handle: the pointer to it.
      numbers: argument -> its number in a call.
      layouts: argument -> its layout in memory.
    """

    handle: c_void_p
    numbers: Mapping[str, int]
    layouts: Mapping[str, c_void_p]

    @classmethod
    def from_description(
        cls, description: c_void_p, names: Sequence[str], gradients: Sequence[str] = ()
    ) -> "Primitive":
        """Makes a primitive from the description of what it computes.

        Args:
          description: a primitive descriptor of the library.
          names: of its arguments.
          gradients: those of them that are gradients.
        """
        numbers, layouts = {}, {}
        for name in (*names, "scratch"):
            of_gradient = name in gradients
            numbers[name] = _ARGUMENTS[name] + _GRADIENT_ARGUMENT * of_gradient
            wanted = _LAYOUTS[name] + _GRADIENT_LAYOUT * of_gradient
            layouts[name] = c_void_p(load().dnnl_primitive_desc_query_md(description, wanted, 0))
        return cls(make("dnnl_primitive_create", description), numbers, layouts)


class Step:
    """A primitive with arguments, for one thread at a time.

    Args:
      primitive: to run.
      renamed: arguments whose array has another name.
      inside: arrays that stay where they are, made by `allocate`.
    """

    def __init__(
        self, primitive: Primitive, renamed: Mapping[str, str], inside: Mapping[str, Any]
    ) -> None:
        self._inside = {**inside, "scratch": allocate(primitive.layouts["scratch"])}
        self._primitive = primitive
        self._arguments = (_Argument * len(primitive.layouts))()
        self._open = []  # arrays that differ from run to run, and their memory objects
        for place, (argument, layout) in enumerate(primitive.layouts.items()):
            array = renamed.get(argument, argument)
            own = self._inside.get(array)
            address = c_void_p(None if own is None else _aligned(own))
            memory = make("dnnl_memory_create", layout, engine(), address)
            self._arguments[place] = _Argument(primitive.numbers[argument], memory.value)
            if own is None:
                self._open.append((array, memory))

    def execute(self, addresses: Mapping[str, int]) -> None:
        """Runs it on the arrays at these addresses, by name."""
        for array, memory in self._open:
            _check(load().dnnl_memory_set_data_handle(memory, c_void_p(addresses[array])))
        count = len(self._arguments)
        _check(_execute()(self._primitive.handle, _stream(), count, self._arguments))


class _Argument(ctypes.Structure):
    _fields_ = [("number", c_int), ("memory", c_void_p)]


@functools.cache
def _openmp() -> ctypes.PyDLL:
    return ctypes.PyDLL("libgomp.so.1")


@functools.cache
def _execute() -> Any:
    """The library's function that computes, without the interpreter's lock."""
    return ctypes.CDLL(load()._name).dnnl_primitive_execute


def _check(status: int) -> None:
    if status:
        raise RuntimeError(f"oneDNN: {_STATUSES.get(status, status)}")


def _aligned(memory: Any) -> int:
    return -(-ctypes.addressof(memory) // _ALIGNMENT) * _ALIGNMENT
