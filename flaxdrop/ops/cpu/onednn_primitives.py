"""oneDNN's convolutions on arrays in memory.

All arrays are f32 and in row-major order, images NHWC, kernels HWIO.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from ctypes import c_void_p

from flaxdrop.ops.cpu.lax_convolution import Padding
from flaxdrop.ops.cpu.onednn_library import (
    Primitive,
    Step,
    allocate,
    attributes,
    engine,
    load,
    make,
    sizes,
    use_threads,
)

Shape = tuple[int, ...]
_F32, _ANY, _TRAINING, _DIRECT = 3, 1, 64, 1


@dataclasses.dataclass(frozen=True)
class Convolution:
    """A convolution or one of its gradients, for arrays of given shapes.

    Attributes:
      prepare: makes the steps that a thread runs.
      threads: that they run on.
      idle: what was made and is not in use.
    """

    prepare: Callable[[], Sequence[Step]]
    threads: int
    idle: list[Sequence[Step]] = dataclasses.field(default_factory=list)

    def run(self, addresses: Mapping[str, int]) -> None:
        """Computes what it is to write.

        Args:
          addresses: of the image, the kernel and the result.
        """
        use_threads(self.threads)
        try:
            steps = self.idle.pop()
        except IndexError:
            steps = self.prepare()
        for step in steps:
            step.execute(addresses)
        self.idle.append(steps)


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
    use_threads(threads)
    x, k, y = _of_image(image), _of_any_kernel(kernel), _of_image(result)
    ends = (sizes(*pixels) for pixels in zip(*pads, strict=True))
    geometry = (sizes(*strides), sizes(0, 0), *ends)
    forward = make(
        "dnnl_convolution_forward_primitive_desc_create",
        *(engine(), _TRAINING, _DIRECT, x, k, None, y, *geometry, attributes()),
    )
    description = forward
    if writes != "result":
        operand, arrays = ("data", (x, k, y)) if writes == "image" else ("weights", (x, k, None, y))
        description = make(
            f"dnnl_convolution_backward_{operand}_primitive_desc_create",
            *(engine(), _DIRECT, *arrays, *geometry, forward, attributes()),
        )
    gradients = () if writes == "result" else (writes, "result")
    main = Primitive.from_description(description, ("image", "kernel", "result"), gradients)
    own, outside = main.layouts["kernel"], _of_kernel(kernel)
    if load().dnnl_memory_desc_equal(own, outside):
        return Convolution(lambda: [Step(main, {}, {})], threads)
    # The library has a layout of its own for the kernel.
    layouts, names = (outside, own), ("kernel", "own")
    if writes == "kernel":
        layouts, names = layouts[::-1], names[::-1]
    reorder = Primitive.from_description(
        make(
            "dnnl_reorder_primitive_desc_create",
            *(layouts[0], engine(), layouts[1], engine(), attributes()),
        ),
        ("from", "to"),
    )

    def prepare() -> Sequence[Step]:
        inside = {"own": allocate(own)}
        steps = [
            Step(reorder, dict(zip(("from", "to"), names, strict=True)), inside),
            Step(main, {"kernel": "own"}, inside),
        ]
        return steps[::-1] if writes == "kernel" else steps

    return Convolution(prepare, threads)


# The library names the axes of an image NCHW and those of a kernel OIhw, however they lie.
def _of_image(shape: Shape) -> c_void_p:
    examples, rows, columns, channels = shape
    lengths = sizes(examples, channels, rows, columns)
    steps = sizes(rows * columns * channels, 1, columns * channels, channels)
    return make("dnnl_memory_desc_create_with_strides", len(shape), lengths, _F32, steps)


def _of_kernel(shape: Shape) -> c_void_p:
    rows, columns, inputs, outputs = shape
    lengths = sizes(outputs, inputs, rows, columns)
    steps = sizes(1, outputs, columns * inputs * outputs, inputs * outputs)
    return make("dnnl_memory_desc_create_with_strides", len(shape), lengths, _F32, steps)


def _of_any_kernel(shape: Shape) -> c_void_p:
    rows, columns, inputs, outputs = shape
    lengths = sizes(outputs, inputs, rows, columns)
    return make("dnnl_memory_desc_create_with_tag", len(shape), lengths, _F32, _ANY)
