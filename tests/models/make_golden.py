"""Writes golden_preresnet.npz: small pre-activation ResNets in PyTorch, independent of flaxdrop.

Needs torch:

    python -m tests.models.make_golden

Everything is computed in f64 from weights that f32 holds exactly. For each network the file has
`<network>/values`, all arrays as one f32 vector, and `<network>/arrays`, their names and shapes in
JSON. `count/<norm>` is over how many values a norm's batch statistics are taken.
"""

import json
import pathlib

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from benchmarks.throughput.baselines.torch_networks import Basic, Bottleneck, PreResNet

FILE = pathlib.Path(__file__).with_name("golden_preresnet.npz")
WIDTHS = (4, 8, 16)
CLASSES = 10


def randomise(network: nn.Module, generator: torch.Generator) -> None:
    """Weights of the usual size; norms, biases and running statistics far from 0 and 1."""

    def normal(tensor: torch.Tensor, std: float) -> torch.Tensor:
        return torch.randn(tensor.shape, generator=generator) * std  # f32

    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.Conv2d):
                module.weight.copy_(normal(module.weight, module.weight[0].numel() ** -0.5))
            if isinstance(module, nn.Linear):
                module.weight.copy_(normal(module.weight, module.weight.shape[1] ** -0.5))
                module.bias.copy_(normal(module.bias, 0.3))
            if isinstance(module, nn.BatchNorm2d):
                module.weight.copy_(1 + normal(module.weight, 0.2))
                module.bias.copy_(normal(module.bias, 0.3))
                module.running_mean.copy_(normal(module.running_mean, 0.3))
                module.running_var.copy_(normal(module.running_var, 0.5).exp())


def statistics(network: nn.Module) -> dict[str, torch.Tensor]:
    return {
        name: value.clone() for name, value in network.state_dict().items() if "running" in name
    }


def golden(network: PreResNet, seed: int, side: int = 8) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    network = network.double()
    randomise(network, generator)
    x = torch.randn(4, 3, side, side, generator=generator).double()
    labels = torch.randint(CLASSES, (4,), generator=generator)

    counts = {}

    def count(name: str, module: nn.Module) -> None:
        def hook(_: nn.Module, inputs: tuple[torch.Tensor, ...], __: torch.Tensor) -> None:
            counts[f"count/{name}"] = torch.tensor(inputs[0].numel() / inputs[0].shape[1])

        module.register_forward_hook(hook)

    for name, module in network.named_modules():
        if isinstance(module, nn.BatchNorm2d):
            count(name, module)

    out = {"x": x.permute(0, 2, 3, 1), "labels": labels}
    saved = network.state_dict().items()
    out |= {f"state/{name}": value.clone() for name, value in saved if "tracked" not in name}
    network.eval()
    out["logits_eval"] = network(x)
    network.train()
    out["logits_train"] = network(x)
    loss = cross_entropy(out["logits_train"], labels)
    loss.backward()
    out["loss"] = loss
    out |= {f"gradient/{name}": value.grad for name, value in network.named_parameters()}
    out |= {f"updated/{name}": value for name, value in statistics(network).items()}
    return out | counts


def main() -> None:
    large = PreResNet(Bottleneck, (2, 1), CLASSES, (4, 8), stem="imagenet")
    networks = {
        "basic14": golden(PreResNet(Basic, 2, CLASSES, WIDTHS), seed=0),
        "bottleneck11": golden(PreResNet(Bottleneck, 1, CLASSES, WIDTHS), seed=1),
        "imagenet": golden(large, seed=2, side=27),
    }
    file: dict[str, np.ndarray] = {}
    for network, tensors in networks.items():
        arrays = {name: tensor.detach().numpy() for name, tensor in tensors.items()}
        shapes = {name: array.shape for name, array in arrays.items()}
        file[f"{network}/arrays"] = np.array(json.dumps(shapes))
        values = np.concatenate([np.ravel(array) for array in arrays.values()])
        file[f"{network}/values"] = values.astype(np.float32)
    np.savez_compressed(FILE, **file)


if __name__ == "__main__":
    main()
