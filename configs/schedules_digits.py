"""Schedules of dropout at P6 of a small PreResNet, on scikit-learn's handwritten digits.

    python -m benchmarks.schedules --config configs/schedules_digits.py

Expected time: about two minutes on two cores. Expected score: 95 to 96 %.
"""

import ml_collections

from benchmarks.preresnet import PreResNetSettings


def get_config() -> ml_collections.ConfigDict:
    config = PreResNetSettings.config()
    config.dataset = "digits"
    config.train_examples = 300
    config.depth = 8
    config.rate = 0.5
    config.dropout_switch = 1 / 6  # as published: 50 of 300 epochs
    config.seeds = 8
    config.epochs = 30
    config.batch = 50
    config.weight_decay = 0.0
    return config
