"""Dropout before or after pooling on CIFAR-10, in the network of the question: eight variants.

    python -m benchmarks.pooling --config configs/pooling_cifar10.py          10 epochs, 3 seeds
    python -m benchmarks.pooling --config configs/pooling_cifar10.py:quick    4 epochs
    python -m benchmarks.pooling --config configs/pooling_cifar10.py:small    10,000 images
    python -m benchmarks.pooling --config configs/pooling_cifar10.py:tiny     for a laptop's CPU

Expected time: `--dry_run` estimates it for the devices that are there; `:tiny` about 14 minutes.
Expected score: none is published. The two orders of a channel-wise mask are one network: their
difference is the table's noise.
The question's images are of 100x100 pixels: `--config.image_size=100`.
"""

import ml_collections

from benchmarks.pooling import PoolingSettings


def get_config(form: str = "full") -> ml_collections.ConfigDict:
    if form not in ("full", "quick", "small", "tiny"):
        raise ValueError(f"config: unknown form {form!r}, choose full, quick, small or tiny")
    config = PoolingSettings.config()
    config.dataset = "cifar10"

    config.rate = 0.25
    config.dense_rate = 0.5
    config.seeds = 3

    config.epochs = 10
    config.batch = 32
    config.optimizer = "keras_sgd"
    config.learning_rate = 0.01
    config.schedule = "inverse_time"
    config.decay = 1e-6
    config.momentum = 0.9
    config.nesterov = True
    config.weight_decay = 0.0
    if form == "quick":
        config.epochs = 4
    if form == "small":
        config.train_examples = 10_000
        config.epochs = 20
    if form == "tiny":
        config.train_examples = 2500
        config.test_examples = 1000
    return config
