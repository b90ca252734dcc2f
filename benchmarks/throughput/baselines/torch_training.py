"""Trains in PyTorch: channels last, data in memory on the device, batches made there at once."""

from collections.abc import Iterator
from types import SimpleNamespace

import torch
from torch import nn
from torch.nn.functional import cross_entropy, pad

from benchmarks.harness.arguments import Flag
from benchmarks.throughput import workload
from benchmarks.throughput.baselines import torch_networks
from benchmarks.throughput.contest import Prepared, in_rounds, take_part
from benchmarks.throughput.workload import Workload


def batches(
    task: Workload, x: torch.Tensor, y: torch.Tensor
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Shuffled, cropped, mirrored and normalised batches, for ever.

    Args:
      task: batch and augmentation.
      x: uint8 `[N, 3, 32, 32]`.
      y: int64 `[N]`.
    """
    device, side = x.device, workload.CROP
    mean, std = (
        torch.tensor(moment, device=device).reshape(1, 3, 1, 1)
        for moment in (workload.MEAN, workload.STD)
    )
    pixels = torch.arange(32, device=device)
    while True:
        order = torch.randperm(len(x), device=device)
        for start in range(0, len(x) - task.batch + 1, task.batch):
            rows = order[start : start + task.batch]
            images = x[rows]
            if task.augmented:
                images = pad(images, (side,) * 4)
                down = torch.randint(0, 2 * side + 1, (task.batch, 1), device=device) + pixels
                right = torch.randint(0, 2 * side + 1, (task.batch, 1), device=device) + pixels
                mirrored = torch.rand(task.batch, 1, device=device) < 0.5
                right = torch.where(mirrored, right.flip(1), right)
                examples = torch.arange(task.batch, device=device)[:, None, None]
                images = images.permute(0, 2, 3, 1)[examples, down[:, :, None], right[:, None, :]]
                images = images.permute(0, 3, 1, 2)
            images = (images.float() / 255 - mean) / std
            yield images.contiguous(memory_format=torch.channels_last), y[rows]


def prepare(options: SimpleNamespace) -> Prepared:
    """Compiles the step if asked to; the round takes some of them."""
    if options.threads:
        torch.set_num_threads(options.threads)
    fast = options.precision == "tensorfloat32"
    torch.set_float32_matmul_precision("high" if fast else "highest")
    torch.backends.cudnn.allow_tf32 = fast
    torch.backends.cudnn.benchmark = True
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    task = workload.WORKLOADS[options.workload]
    x, y = (torch.from_numpy(array).to(device) for array in workload.examples())
    source = batches(task, x.permute(0, 3, 1, 2), y.long())
    fixed = next(source)
    if task.depth is None:
        network: nn.Module = torch_networks.VGG(workload.CLASSES, options.rate)
    else:
        network = torch_networks.PreResNet(
            torch_networks.Basic, task.blocks, workload.CLASSES, rate=options.rate
        )
    model = network.to(device, memory_format=torch.channels_last)
    run = torch.compile(model) if options.compile else model
    sgd = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9, weight_decay=1e-4)
    optimiser = torch.optim.Adam(model.parameters()) if task.depth is None else sgd
    low = torch.autocast(device.type, torch.bfloat16, enabled=options.precision == "bfloat16")

    def steps(count: int) -> None:
        for _ in range(count):
            images, labels = fixed if options.fixed_batch else next(source)
            with low:
                loss = cross_entropy(run(images), labels)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
        if device.type == "cuda":
            torch.cuda.synchronize()

    work, first_seconds = in_rounds(steps, options.seconds, unit=task.batch)
    return work, {"compile_seconds": first_seconds}


FLAGS = (
    *workload.FLAGS,
    Flag("compile", False, "train with torch.compile"),
    Flag("threads", 0, "how many threads; 0: as PyTorch likes"),
)


if __name__ == "__main__":
    take_part(FLAGS, prepare)
