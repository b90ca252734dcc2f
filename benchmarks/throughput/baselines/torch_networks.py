"""The networks in PyTorch, written from their definitions and not from flaxdrop's.

Kim et al. (UAI 2023, Section 3) for the pre-activation ResNet, Chlis (2017) for the VGG-like
network. Dropout at P6, and after every layer, is there when its rate is above 0.
"""

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn.functional import relu


def _convolution(inputs: int, outputs: int, side: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, side, stride, padding=side // 2, bias=False)


def _dropout(rate: float) -> nn.Module:
    return nn.Dropout(rate) if rate else nn.Identity()


class Basic(nn.Module):
    """Two 3x3 convolutions before an addition."""

    expansion = 1

    def __init__(self, inputs: int, width: int, stride: int, rate: float = 0.0) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv1 = _convolution(inputs, width, 3, stride)
        self.bn2 = nn.BatchNorm2d(width)
        self.p6 = _dropout(rate)
        self.conv2 = _convolution(width, width, 3)
        changes = stride != 1 or inputs != width
        self.downsample = _convolution(inputs, width, 1, stride) if changes else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps `[N, C, H, W]` to `[N, width, H / stride, W / stride]`."""
        branch = self.conv1(relu(self.bn1(x)))
        branch = self.conv2(self.p6(relu(self.bn2(branch))))
        return branch + self.downsample(x)


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions before an addition."""

    expansion = 4

    def __init__(self, inputs: int, width: int, stride: int, rate: float = 0.0) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv1 = _convolution(inputs, width, 1)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv2 = _convolution(width, width, 3, stride)
        self.bn3 = nn.BatchNorm2d(width)
        self.p6 = _dropout(rate)
        self.conv3 = _convolution(width, 4 * width, 1)
        changes = stride != 1 or inputs != 4 * width
        self.downsample = _convolution(inputs, 4 * width, 1, stride) if changes else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps `[N, C, H, W]` to `[N, 4 width, H / stride, W / stride]`."""
        branch = self.conv1(relu(self.bn1(x)))
        branch = self.conv2(relu(self.bn2(branch)))
        branch = self.conv3(self.p6(relu(self.bn3(branch))))
        return branch + self.downsample(x)


class PreResNet(nn.Module):
    """A stem, stages of blocks, average pooling and a classifier.

    Args:
      block: `Basic` or `Bottleneck`.
      blocks: in each stage, or in every one.
      classes: size of the output.
      widths: of the stages.
      rate: of the dropout at P6.
      stem: "cifar", a 3x3 convolution, or "imagenet", a 7x7 one and a pooling, 2 pixels a step.
    """

    def __init__(
        self,
        block: type[Basic] | type[Bottleneck],
        blocks: int | Sequence[int],
        classes: int,
        widths: tuple[int, ...] = (16, 32, 64),
        rate: float = 0.0,
        stem: str = "cifar",
    ) -> None:
        super().__init__()
        is_large = stem == "imagenet"
        self.conv = _convolution(3, widths[0], 7, 2) if is_large else _convolution(3, widths[0], 3)
        self.pool = nn.MaxPool2d(3, 2, padding=1) if is_large else nn.Identity()
        sizes = [blocks] * len(widths) if isinstance(blocks, int) else blocks
        self.stages = nn.ModuleList()
        features = widths[0]
        for stage, width in enumerate(widths):
            layers = []
            for position in range(sizes[stage]):
                stride = 2 if stage and not position else 1
                layers.append(block(features, width, stride, rate))
                features = width * block.expansion
            self.stages.append(nn.Sequential(*layers))
        self.bn = nn.BatchNorm2d(features)
        self.fc = nn.Linear(features, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps `[N, 3, H, W]` to logits `[N, classes]`."""
        x = self.pool(self.conv(x))
        for stage in self.stages:
            x = stage(x)
        return self.fc(relu(self.bn(x)).mean(dim=(2, 3)))


class VGG(nn.Module):
    """Three blocks of two convolutions and two dense layers, for images of 32x32 pixels.

    Args:
      classes: size of the output.
      rate: of the dropout after every layer.
    """

    def __init__(self, classes: int, rate: float = 0.0) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        features = 3
        for width in (64, 128, 256):
            for padding in (1, 0):
                layers += [nn.Conv2d(features, width, 3, padding=padding)]
                layers += [nn.BatchNorm2d(width, eps=1e-3), nn.ReLU(), _dropout(rate)]
                features = width
            layers += [nn.MaxPool2d(2)]
        layers += [nn.Flatten()]
        features = 2 * 2 * 256
        for _ in range(2):
            layers += [nn.Linear(features, 512), nn.BatchNorm1d(512, eps=1e-3), nn.ReLU()]
            layers += [_dropout(rate)]
            features = 512
        self.layers = nn.Sequential(*layers, nn.Linear(features, classes))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps `[N, 3, 32, 32]` to logits `[N, classes]`."""
        return self.layers(x)
