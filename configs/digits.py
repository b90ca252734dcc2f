"""The position table on scikit-learn's handwritten digits, small enough for a laptop.

python -m benchmarks.preresnet --config configs/digits.py
"""

import ml_collections

from benchmarks.preresnet import PreResNetSettings


def get_config() -> ml_collections.ConfigDict:
    config = PreResNetSettings.config()
    config.dataset = "digits"
    config.train_examples = 200
    config.depth = 8
    config.widths = (16, 32, 64)
    config.rate = 0.1
    config.seeds = 5
    config.epochs = 20
    config.batch = 50
    config.learning_rate = 0.1
    config.schedule = "step"
    config.decay_at = (0.5, 0.75)
    return config
