"""Weights of published networks: read, written and downloaded."""

from flaxdrop.weights.densenet import load_pretrained, save_pretrained
from flaxdrop.weights.download import download_pretrained

__all__ = ["download_pretrained", "load_pretrained", "save_pretrained"]
