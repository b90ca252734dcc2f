"""Dropout around a classifier on the features of an untrained network: handwritten digits.

    python -m benchmarks.transfer --config configs/transfer_digits.py

It shows how the study works, in about a minute on two cores, without weights.
"""

import ml_collections

from benchmarks.transfer import UNTRAINED, TransferSettings


def get_config() -> ml_collections.ConfigDict:
    config = TransferSettings.config()
    config.dataset = "digits"
    config.image_size = 64
    config.weights = UNTRAINED
    config.layers = (2, 2, 2, 2)
    config.growth = 16
    config.train_examples = 200
    config.rates = (0.2, 0.5, 0.8)
    config.seeds = 5
    config.devices = 1
    config.cells_per_device = 50
    config.epochs = 40
    config.batch = 20
    config.optimizer = "adam"
    config.learning_rate = 0.03
    config.schedule = "constant"
    config.weight_decay = 0.0
    return config
