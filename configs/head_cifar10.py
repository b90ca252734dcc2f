"""Dropout in the head of PreResNet-110 on CIFAR-10: H4, H5, both, logits, at rates 0.1 to 0.5.

    python -m benchmarks.head --config configs/head_cifar10.py          164 epochs, 3 seeds
    python -m benchmarks.head --config configs/head_cifar10.py:quick    30 epochs, for one GPU
    python -m benchmarks.head --config configs/head_cifar10.py:small    10,000 images
    python -m benchmarks.head --config configs/head_cifar10.py:tiny     for a laptop's CPU

With `--config.network=densenet --config.depth=40`: DenseNet-BC in its form for CIFAR.
Expected time: `--dry_run` estimates it for the devices that are there; `:tiny` about 15 minutes.
Expected score: none is published for this network; the paper's H4 has rate 0.2.
"""

import ml_collections

from benchmarks.head import HeadSettings


def get_config(form: str = "full") -> ml_collections.ConfigDict:
    if form not in ("full", "quick", "small", "tiny"):
        raise ValueError(f"config: unknown form {form!r}, choose full, quick, small or tiny")
    config = HeadSettings.config()
    config.dataset = "cifar10"
    config.mean = (0.4914, 0.4822, 0.4465)
    config.std = (0.2023, 0.1994, 0.2010)
    config.crop = 4
    config.flip = True
    config.depth = 110
    config.epochs = 164
    config.batch = 128
    config.decay_at = (81 / 164, 122 / 164)
    if form == "quick":
        config.epochs = 30
    if form == "small":
        config.crop = 0
        config.train_examples = 10_000
        config.depth = 20
        config.rates = (0.2, 0.5)
        config.epochs = 40
        config.schedule = "cosine"
        config.weight_decay = 5e-4
    if form == "tiny":
        config.image_size = 16
        config.crop = 2
        config.train_examples = 2000
        config.test_examples = 1000
        config.depth = 20
        config.rates = (0.2, 0.5)
        config.epochs = 15
        config.batch = 50
    return config
