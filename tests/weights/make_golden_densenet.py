"""Writes the DenseNet fixtures: a small one in PyTorch, independent of flaxdrop.

Written from Huang et al. 2017; the state dict has torchvision's names. Needs torch, safetensors and
numpy only:

    python tests/models/make_golden_densenet.py

densenet.safetensors has the weights, golden_densenet.npz images and what the network makes of them,
computed in f64.
"""

import collections
import pathlib

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn.functional import avg_pool2d, relu

FOLDER = pathlib.Path(__file__).parent
BLOCKS = (2, 1, 2)
GROWTH = 4
CLASSES = 5


class Layer(nn.Module):
    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, 4 * GROWTH, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(4 * GROWTH)
        self.conv2 = nn.Conv2d(4 * GROWTH, GROWTH, 3, padding=1, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        new = self.conv2(relu(self.norm2(self.conv1(relu(self.norm1(x))))))
        return torch.cat([x, new], dim=1)


class Transition(nn.Module):
    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(inputs)
        self.conv = nn.Conv2d(inputs, inputs // 2, 1, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return avg_pool2d(self.conv(relu(self.norm(x))), 2)


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        channels = 2 * GROWTH
        parts: dict[str, nn.Module] = {
            "conv0": nn.Conv2d(3, channels, 7, stride=2, padding=3, bias=False),
            "norm0": nn.BatchNorm2d(channels),
            "relu0": nn.ReLU(),
            "pool0": nn.MaxPool2d(3, stride=2, padding=1),
        }
        for block, size in enumerate(BLOCKS, start=1):
            layers = {}
            for layer in range(1, size + 1):
                layers[f"denselayer{layer}"] = Layer(channels)
                channels += GROWTH
            parts[f"denseblock{block}"] = nn.Sequential(collections.OrderedDict(layers))
            if block < len(BLOCKS):
                parts[f"transition{block}"] = Transition(channels)
                channels //= 2
        parts["norm5"] = nn.BatchNorm2d(channels)
        self.features = nn.Sequential(collections.OrderedDict(parts))
        self.classifier = nn.Linear(channels, CLASSES)

    def pooled(self, x: torch.Tensor) -> torch.Tensor:
        return relu(self.features(x)).mean(dim=(2, 3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.classifier(self.pooled(x))


def randomise(network: nn.Module, random: np.random.Generator) -> None:
    """Norms and running statistics far from 0 and 1, some variances near torch's epsilon."""
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            if tensor.dtype == torch.int64:
                continue
            values = random.standard_normal(tuple(tensor.shape))
            if tensor.ndim > 1:
                values *= (2 / tensor[0].numel()) ** 0.5
            elif name.endswith("running_var"):
                values = 10 ** random.uniform(-5, 1, tuple(tensor.shape))
            else:
                values *= 0.3
            tensor.copy_(torch.from_numpy(values))
        # So that a small variance makes no large number, nor a large mean beside it.
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.weight.add_(1)
                for tensor in (module.weight, module.bias, module.running_mean):
                    tensor.mul_(module.running_var.sqrt())


def main() -> None:
    random = np.random.default_rng(0)
    network = Network()
    randomise(network, random)
    save_file(network.state_dict(), FOLDER / "densenet.safetensors")

    # An odd side: pooling leaves a row and a column out.
    x = torch.from_numpy(random.standard_normal((3, 3, 45, 45)).astype(np.float32)).double()
    network.double().eval()
    outputs = {"features": network.pooled(x), "logits": network(x)}
    network.train()
    outputs["logits_train"] = network(x)
    arrays = {name: tensor.detach().numpy() for name, tensor in outputs.items()}
    arrays["x"] = x.permute(0, 2, 3, 1).numpy()
    np.savez_compressed(
        FOLDER / "golden_densenet.npz",
        **{name: array.astype(np.float32) for name, array in arrays.items()},
    )


if __name__ == "__main__":
    main()
