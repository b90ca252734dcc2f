"""Networks with every candidate dropout slot.

Every network is called with x, normalised images `[N, H, W, C]`; train, whether its batch norms use
the batch's statistics (apply with `mutable=["batch_stats"]`); and placement, where dropout is on
(apply with `rngs={"dropout": key}`), None: nowhere. It gives logits `[N, num_classes]`, f32, and
raises ValueError for an unknown slot, and for no images, or ones that are too small.
"""

from flaxdrop.models.convnet import ConvNet
from flaxdrop.models.densenet import DenseNet
from flaxdrop.models.head import Head
from flaxdrop.models.preresnet import PreResNet
from flaxdrop.models.vgg import VGG

__all__ = [
    "VGG",
    "ConvNet",
    "DenseNet",
    "Head",
    "PreResNet",
]
