"""Dropout by depth on CIFAR-10, in the network of Chlis (2017): 20 configurations.

    python -m benchmarks.vgg_depth --config configs/vgg_cifar10.py          250 epochs, 3 seeds
    python -m benchmarks.vgg_depth --config configs/vgg_cifar10.py:quick    30 epochs, for one GPU
    python -m benchmarks.vgg_depth --config configs/vgg_cifar10.py:small    10,000 images
    python -m benchmarks.vgg_depth --config configs/vgg_cifar10.py:tiny     for a laptop's CPU

Expected time: `--dry_run` estimates it for the devices that are there; `:tiny` about 14 minutes.
Expected score: in the table, beside ours: the best epoch of one run each, for example BN 85.63 %
and conv 0.2 + dense 0.5 88.31 %.
The learning rate is the default of the author's code; his text says 0.002.
"""

import ml_collections

from benchmarks.vgg_depth import VGGSettings


def get_config(form: str = "full") -> ml_collections.ConfigDict:
    if form not in ("full", "quick", "small", "tiny"):
        raise ValueError(f"config: unknown form {form!r}, choose full, quick, small or tiny")
    config = VGGSettings.config()
    config.dataset = "cifar10"
    config.mean = (0.0, 0.0, 0.0)
    config.std = (256 / 255, 256 / 255, 256 / 255)  # pixels / 256

    config.seeds = 3

    config.epochs = 250
    config.batch = 64
    config.optimizer = "adam"
    config.learning_rate = 0.001
    config.schedule = "constant"
    config.weight_decay = 0.0
    if form == "quick":
        config.epochs = 30
    if form == "small":
        config.train_examples = 10_000
        config.epochs = 30
    if form == "tiny":
        config.image_size = 22
        config.train_examples = 2000
        config.test_examples = 1000
        config.widths = (16, 32, 64)
        config.units = 128
        config.epochs = 18
        config.batch = 32
        # What 250 epochs do not need: 18 do little at 0.001, and statistics at .99 lag behind.
        config.learning_rate = 0.003
        config.norm_momentum = 0.9
    return config
