"""Dropout by depth on scikit-learn's handwritten digits, in a narrow network, for a laptop.

python -m benchmarks.vgg_depth --config configs/vgg_digits.py

Expected time: about four minutes on two cores.
"""

import ml_collections

from benchmarks.vgg_depth import VGGSettings


def get_config() -> ml_collections.ConfigDict:
    config = VGGSettings.config()
    config.dataset = "digits"
    config.image_size = 22  # the smallest that three blocks take
    config.mean = (0.0,)
    config.std = (256 / 255,)
    config.train_examples = 200
    config.widths = (8, 16, 32)
    config.units = 64
    config.norm_momentum = 0.9  # .99 is too slow for 400 steps
    config.seeds = 3
    config.epochs = 40
    config.batch = 20
    config.optimizer = "adam"
    config.learning_rate = 0.001
    config.schedule = "constant"
    config.weight_decay = 0.0
    return config
