"""The least time a training step can take: products at the machine's speed, or bytes at its own.

The bytes, counted by hand for a basic block of PreResNet whose activations take A bytes an image
(x: its input, y: what the first convolution gives, G: the gradient of the output, H: of what a
norm gives). Every norm, ReLU, dropout and sum over the batch is fused into the
convolution beside it, nothing stays in a cache, and what is cheap is computed twice. Batch norm
needs all of y before it can normalise any of it, so y is written and read, and likewise backwards:

  forward   conv1                        reads x          writes y             2 A
            conv2, addition              reads y, x       writes the output    3 A
  backward  conv2, both gradients        reads G, y       writes H of norm2    3 A
            norm2, conv1, both gradients reads H, y, x    writes H of norm1    4 A
            norm1, addition              reads H, x, G    writes G of x        4 A

That is 16 A a block; A is halved from stage to stage. Stem, head, projections, parameters (of a
batch) and images are left out: a few hundredths at depth 110.

The products are those of the forward pass, three times. The speed of both is measured: of large
matrix products, and of adding to a large array in place.
"""

from collections.abc import Callable, Mapping
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from benchmarks.harness.arguments import Flag
from benchmarks.harness.precision import PRECISIONS, activation_dtype, set_matmul_precision
from benchmarks.throughput.contest import Prepared, in_rounds, take_part
from benchmarks.throughput.workload import Workload
from flaxdrop.training.cells import choose_devices
from flaxdrop.training.environment import configure_jax
from flaxdrop.training.tracing import make_mesh

GIGA = 1e9
_PASSES = 16  # over the activations of a block
_PIXELS, _WIDTHS = 32 * 32, (16, 32, 64)


def bytes_per_image(workload: Workload, precision: str) -> float:
    """That a training step of a PreResNet moves at least.

    Args:
      workload: what is trained.
      precision: as the contestants take it.

    >>> from benchmarks.throughput.workload import WORKLOADS
    >>> bytes_per_image(WORKLOADS["preresnet110"], "float32") / 2**20
    31.5
    """
    size = np.dtype(activation_dtype(precision)).itemsize
    stages = [_PIXELS * width / 4**stage for stage, width in enumerate(_WIDTHS)]
    return _PASSES * workload.blocks * size * sum(stages)


def seconds_per_image(flops: float, moved: float, gflops: float, gigabytes: float) -> float:
    """The least that a step can take for an image: the longer of products and bytes.

    Args:
      flops: of the products and sums.
      moved: bytes.
      gflops: 1e9 products and sums a second.
      gigabytes: 1e9 bytes a second.

    >>> seconds_per_image(2e9, 1e9, gflops=10, gigabytes=10)
    0.2
    """
    return max(flops / gflops, moved / gigabytes) / GIGA


def prepare(options: SimpleNamespace) -> Prepared:
    """Compiles; the round does some passes on every device, a unit is 1e9 products or bytes."""
    configure_jax()
    set_matmul_precision(options.precision)
    devices = choose_devices(0)
    rows, columns = _SHAPES[options.kind][devices[0].platform == "cpu"]
    dtype = activation_dtype(options.precision)
    one_each = NamedSharding(make_mesh(devices), PartitionSpec("cells"))
    x = jnp.zeros((len(devices), rows, columns), dtype, device=one_each)
    run = jax.jit(
        _ONE[options.kind], donate_argnums=0, in_shardings=one_each, out_shardings=one_each
    )

    def passes(count: int) -> None:
        nonlocal x
        for _ in range(count):
            x = run(x)
        jax.block_until_ready(x)

    each = 2 * (rows * columns**2 if options.kind == "products" else x[0].nbytes)
    unit = len(devices) * each / GIGA
    work, first_seconds = in_rounds(passes, options.seconds, unit=unit)
    return work, {"compile_seconds": first_seconds}


# On a GPU or TPU, and on a CPU.
_SHAPES = {"products": ((8192, 8192), (2048, 2048)), "bytes": ((2**17, 2**11), (2**15, 2**11))}
_ONE: Mapping[str, Callable[[jax.Array], jax.Array]] = {
    "products": lambda x: x @ x,
    "bytes": lambda x: x + jnp.ones((), x.dtype),
}


FLAGS = (
    Flag("kind", "products", "what is measured", tuple(_ONE)),
    Flag("precision", "float32", "the precision of products", PRECISIONS),
    Flag("seconds", 1.0, "how long a round lasts, about"),
)


if __name__ == "__main__":
    take_part(FLAGS, prepare)
