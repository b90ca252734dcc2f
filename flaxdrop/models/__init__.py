"""Networks with every candidate dropout slot."""

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
