"""Networks with every candidate dropout slot."""

from flaxdrop.models.preresnet import PreResNet

__all__ = ["PreResNet"]
