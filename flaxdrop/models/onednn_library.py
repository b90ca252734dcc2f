"""oneDNN's convolutions on arrays in memory, through its C interface (`oneapi/dnnl/dnnl.h`).

All arrays are f32 and in row-major order, images NHWC, kernels HWIO.
"""

import ctypes
import dataclasses
import functools
import importlib.metadata
from collections.abc import Callable, Mapping, Sequence
from ctypes import byref, c_int, c_int64, c_size_t, c_void_p
from typing import Any

from flaxdrop.models.plain_convolution import Padding

Shape = tuple[int, ...]

# An argument's number in a call, and that of its layout in a query; a gradient has other ones.
_ARGUMENTS = {"image": 1, "from": 1, "kernel": 33, "result": 17, "to": 17, "scratch": 80}
_LAYOUTS = {"image": 129, "from": 129, "kernel": 131, "result": 133, "to": 133, "scratch": 136}
_GRADIENT_ARGUMENT, _GRADIENT_LAYOUT = 128, 1  # to be added
_F32, _ANY, _TRAINING, _DIRECT = 3, 1, 64, 1
_CPU, _IN_ORDER, _SCRATCH_FROM_CALLER = 1, 1, 1
_ALIGNMENT = 64


@functools.cache
def _libraries() -> tuple[ctypes.PyDLL, ctypes.PyDLL]:
    """oneDNN and the OpenMP that it runs on; OSError without them.

    Their calls keep the interpreter's lock, for they are short: to release it and wait for it again
    takes longer, where several devices are at work. `_execute` is the exception.
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
    return library, ctypes.PyDLL("libgomp.so.1")


@functools.cache
def _execute() -> Any:
    """The library's function that computes, without the interpreter's lock."""
    library, _ = _libraries()
    return ctypes.CDLL(library._name).dnnl_primitive_execute


@functools.cache
def available() -> bool:
    """Whether the library is there: it comes with flaxdrop on Linux and x86-64."""
    try:
        _libraries()
    except OSError:
        return False
    return True


@dataclasses.dataclass(frozen=True)
class Convolution:
    """A convolution or one of its gradients, for arrays of given shapes.

    Attributes:
      prepare: makes what a thread needs to run it.
      threads: that it runs on.
      idle: what was made and is not in use.
    """

    prepare: Callable[[], "_Run"]
    threads: int
    idle: list["_Run"] = dataclasses.field(default_factory=list)

    def run(self, addresses: Mapping[str, int]) -> None:
        """Computes what it is to write.

        Args:
          addresses: of the image, the kernel and the result.
        """
        _, openmp = _libraries()
        openmp.omp_set_num_threads(self.threads)  # of this thread
        try:
            run = self.idle.pop()
        except IndexError:
            run = self.prepare()
        run.execute(addresses)
        self.idle.append(run)


@functools.cache
def convolution(
    writes: str,
    image: Shape,
    kernel: Shape,
    result: Shape,
    strides: tuple[int, int],
    pads: Padding,
    threads: int,
) -> Convolution:
    """Prepares a convolution, or one of its gradients; it is kept for the life of the process.

    Args:
      writes: "result", or of which the gradient is, "image" or "kernel".
      image: `[N, H, W, C]`.
      kernel: `[h, w, C, O]`.
      result: `[N, H', W', O]`.
      strides: of the two spatial axes.
      pads: pixels (before, after) for both axes.
      threads: it runs on.

    Raises:
      RuntimeError: the library has no such convolution.
    """
    library, openmp = _libraries()
    openmp.omp_set_num_threads(threads)
    layouts = _of_image(image), _of_any_kernel(kernel), _of_image(result)
    geometry = (
        _sizes(*strides),
        _sizes(0, 0),
        *(_sizes(*ends) for ends in zip(*pads, strict=True)),
    )
    forward = _made(
        "dnnl_convolution_forward_primitive_desc_create",
        _engine(),
        _TRAINING,
        _DIRECT,
        *layouts[:2],
        None,
        layouts[2],
        *geometry,
        _attributes(),
    )
    if writes == "result":
        description = forward
    elif writes == "image":
        description = _made(
            "dnnl_convolution_backward_data_primitive_desc_create",
            _engine(),
            _DIRECT,
            *layouts,
            *geometry,
            forward,
            _attributes(),
        )
    else:
        description = _made(
            "dnnl_convolution_backward_weights_primitive_desc_create",
            _engine(),
            _DIRECT,
            *layouts[:2],
            None,
            layouts[2],
            *geometry,
            forward,
            _attributes(),
        )
    gradients = {"result": (), "image": ("image", "result"), "kernel": ("kernel", "result")}[writes]
    main = _Primitive.of(description, ("image", "kernel", "result"), gradients)
    own, outside = main.layouts["kernel"], _of_kernel(kernel)
    if library.dnnl_memory_desc_equal(own, outside):
        return Convolution(lambda: _Run([_Step(main)]), threads)
    # The library has a layout of its own for the kernel.
    ends = (own, outside) if writes == "kernel" else (outside, own)
    description = _made(
        "dnnl_reorder_primitive_desc_create",
        ends[0],
        _engine(),
        ends[1],
        _engine(),
        _attributes(),
    )
    names = ("own", "kernel") if writes == "kernel" else ("kernel", "own")
    reorder = _Primitive.of(description, ("from", "to"), ())

    def prepare() -> _Run:
        memory = ctypes.create_string_buffer(library.dnnl_memory_desc_get_size(own) + _ALIGNMENT)
        inside = {"own": _aligned(memory)}
        steps = [
            _Step(reorder, dict(zip(("from", "to"), names, strict=True)), inside),
            _Step(main, {"kernel": "own"}, inside),
        ]
        return _Run(steps[::-1] if writes == "kernel" else steps, memory)

    return Convolution(prepare, threads)


class _Argument(ctypes.Structure):
    _fields_ = [("number", c_int), ("memory", c_void_p)]


@dataclasses.dataclass(frozen=True)
class _Primitive:
    """What the library can run.

    Attributes:
      handle: of it.
      numbers: of its arguments, by name.
      layouts: likewise.
      scratch_bytes: that it needs while it runs.
    """

    handle: c_void_p
    numbers: Mapping[str, int]
    layouts: Mapping[str, c_void_p]
    scratch_bytes: int

    @classmethod
    def of(
        cls, description: c_void_p, names: Sequence[str], gradients: Sequence[str]
    ) -> "_Primitive":
        library, _ = _libraries()
        numbers, layouts = {}, {}
        for name in (*names, "scratch"):
            of_gradient = name in gradients
            numbers[name] = _ARGUMENTS[name] + _GRADIENT_ARGUMENT * of_gradient
            wanted = _LAYOUTS[name] + _GRADIENT_LAYOUT * of_gradient
            layouts[name] = c_void_p(library.dnnl_primitive_desc_query_md(description, wanted, 0))
        scratch = library.dnnl_memory_desc_get_size(layouts["scratch"])
        return cls(_made("dnnl_primitive_create", description), numbers, layouts, scratch)


class _Step:
    """A primitive with arguments, for one thread at a time.

    Args:
      primitive: to run.
      renamed: arguments whose array has another name.
      inside: addresses of arrays that stay where they are.
    """

    def __init__(
        self,
        primitive: _Primitive,
        renamed: Mapping[str, str] | None = None,
        inside: Mapping[str, int] | None = None,
    ) -> None:
        renamed, inside = renamed or {}, inside or {}
        self._scratch = ctypes.create_string_buffer(primitive.scratch_bytes + _ALIGNMENT)
        fixed = {**inside, "scratch": _aligned(self._scratch)}
        self._primitive = primitive
        self._arguments = (_Argument * len(primitive.layouts))()
        self._open = []  # arrays that differ from run to run, and their memory objects
        for place, (argument, layout) in enumerate(primitive.layouts.items()):
            array = renamed.get(argument, argument)
            address = c_void_p(fixed.get(array))
            memory = _made("dnnl_memory_create", layout, _engine(), address)
            self._arguments[place] = _Argument(primitive.numbers[argument], memory.value)
            if array not in fixed:
                self._open.append((array, memory))

    def execute(self, addresses: Mapping[str, int]) -> None:
        library, _ = _libraries()
        for array, memory in self._open:
            _check(library.dnnl_memory_set_data_handle(memory, c_void_p(addresses[array])))
        count = len(self._arguments)
        _check(_execute()(self._primitive.handle, _stream(), count, self._arguments))


class _Run:
    """The steps of a convolution, and the memory between them."""

    def __init__(self, steps: Sequence[_Step], memory: Any = None) -> None:
        self._steps = steps
        self._memory = memory

    def execute(self, addresses: Mapping[str, int]) -> None:
        for step in self._steps:
            step.execute(addresses)


@functools.cache
def _engine() -> c_void_p:
    return _made("dnnl_engine_create", _CPU, c_size_t(0))


@functools.cache
def _stream() -> c_void_p:
    return _made("dnnl_stream_create", _engine(), _IN_ORDER)


@functools.cache
def _attributes() -> c_void_p:
    """With memory for the time of a run from the caller: then a primitive serves all threads."""
    library, _ = _libraries()
    attributes = _made("dnnl_primitive_attr_create")
    _check(library.dnnl_primitive_attr_set_scratchpad_mode(attributes, _SCRATCH_FROM_CALLER))
    return attributes


# The library names the axes of an image NCHW and those of a kernel OIhw, however they lie.
def _of_image(shape: Shape) -> c_void_p:
    examples, rows, columns, channels = shape
    sizes = _sizes(examples, channels, rows, columns)
    steps = _sizes(rows * columns * channels, 1, columns * channels, channels)
    return _made("dnnl_memory_desc_create_with_strides", len(shape), sizes, _F32, steps)


def _of_kernel(shape: Shape) -> c_void_p:
    rows, columns, inputs, outputs = shape
    sizes = _sizes(outputs, inputs, rows, columns)
    steps = _sizes(1, outputs, columns * inputs * outputs, inputs * outputs)
    return _made("dnnl_memory_desc_create_with_strides", len(shape), sizes, _F32, steps)


def _of_any_kernel(shape: Shape) -> c_void_p:
    rows, columns, inputs, outputs = shape
    sizes = _sizes(outputs, inputs, rows, columns)
    return _made("dnnl_memory_desc_create_with_tag", len(shape), sizes, _F32, _ANY)


def _made(create: str, *arguments: Any) -> c_void_p:
    library, _ = _libraries()
    made = c_void_p()
    _check(library[create](byref(made), *arguments))
    return made


def _check(status: int) -> None:
    if status:
        raise RuntimeError(f"oneDNN: {_STATUSES.get(status, status)}")


_STATUSES = {1: "out of memory", 2: "invalid arguments", 3: "unimplemented"}


def _sizes(*values: int) -> Any:
    return (c_int64 * len(values))(*values)


def _aligned(memory: Any) -> int:
    return -(-ctypes.addressof(memory) // _ALIGNMENT) * _ALIGNMENT
