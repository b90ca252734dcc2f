"""The networks as the Flax documentation would have them: `nn.Conv`, `nn.Dropout` and loops."""

import flax.linen as nn
import jax


class Block(nn.Module):
    """Two 3x3 convolutions before an addition, with dropout at P6.

    Attributes:
      width: channels of the output.
      stride: of the first convolution.
      rate: of the dropout.
    """

    width: int
    stride: int
    rate: float

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """Maps `[N, H, W, C]` to `[N, H / stride, W / stride, width]`."""
        y = nn.relu(nn.BatchNorm(use_running_average=not train, momentum=0.9)(x))
        y = nn.Conv(self.width, (3, 3), self.stride, padding=1, use_bias=False)(y)
        y = nn.relu(nn.BatchNorm(use_running_average=not train, momentum=0.9)(y))
        y = nn.Dropout(self.rate, deterministic=not train)(y)
        y = nn.Conv(self.width, (3, 3), padding=1, use_bias=False)(y)
        if x.shape != y.shape:
            x = nn.Conv(self.width, (1, 1), self.stride, use_bias=False)(x)
        return x + y


class PreResNet(nn.Module):
    """A 3x3 stem, three stages of equal blocks, average pooling and a classifier.

    Attributes:
      blocks: in each stage.
      classes: size of the output.
      rate: of the dropout at P6.
    """

    blocks: int
    classes: int
    rate: float

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """Maps `[N, H, W, 3]` to logits `[N, classes]`."""
        x = nn.Conv(16, (3, 3), padding=1, use_bias=False)(x)
        for stage, width in enumerate((16, 32, 64)):
            for position in range(self.blocks):
                x = Block(width, 2 if stage and not position else 1, self.rate)(x, train)
        x = nn.relu(nn.BatchNorm(use_running_average=not train, momentum=0.9)(x))
        return nn.Dense(self.classes)(x.mean(axis=(1, 2)))


class VGG(nn.Module):
    """Three blocks of two convolutions and two dense layers, with dropout after each.

    Attributes:
      classes: size of the output.
      rate: of the dropout.
    """

    classes: int
    rate: float

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """Maps `[N, 32, 32, 3]` to logits `[N, classes]`."""

        def activated(x: jax.Array) -> jax.Array:
            norm = nn.BatchNorm(use_running_average=not train, momentum=0.99, epsilon=1e-3)
            return nn.Dropout(self.rate, deterministic=not train)(nn.relu(norm(x)))

        for width in (64, 128, 256):
            for padding in ("SAME", "VALID"):
                x = activated(nn.Conv(width, (3, 3), padding=padding)(x))
            x = nn.max_pool(x, (2, 2), (2, 2))
        x = x.reshape(len(x), -1)
        for _ in range(2):
            x = activated(nn.Dense(512)(x))
        return nn.Dense(self.classes)(x)
