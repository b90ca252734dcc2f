"""Dropout before or after pooling, on scikit-learn's handwritten digits, for a laptop.

python -m benchmarks.pooling --config configs/pooling_digits.py

Expected time: about two minutes on two cores.
"""

import ml_collections

from configs.pooling_cifar10 import get_config as cifar10


def get_config() -> ml_collections.ConfigDict:
    config = cifar10()
    config.dataset = "digits"
    config.image_size = 16  # the smallest that two blocks take
    config.train_examples = 200
    config.widths = (16, 32)
    config.units = 128
    config.seeds = 5
    config.epochs = 60
    return config
