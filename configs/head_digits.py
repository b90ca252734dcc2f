"""Dropout in the head of a small PreResNet, on scikit-learn's handwritten digits.

    python -m benchmarks.head --config configs/head_digits.py

With `--config.network=densenet --config.depth=10`: DenseNet-BC in its form for small images.

Expected time: two to four minutes on two cores. Expected score: 95 to 96 %.
"""

import ml_collections

from benchmarks.head import HeadSettings


def get_config() -> ml_collections.ConfigDict:
    config = HeadSettings.config()
    config.dataset = "digits"
    config.train_examples = 300
    config.depth = 8
    config.rates = (0.2, 0.5)
    config.seeds = 5
    config.epochs = 40
    config.batch = 50
    config.weight_decay = 0.0
    return config
