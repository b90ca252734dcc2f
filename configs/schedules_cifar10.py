"""Schedules of dropout at P6 of PreResNet-110 on CIFAR-10: seven variants.

    python -m benchmarks.schedules --config configs/schedules_cifar10.py          164 epochs
    python -m benchmarks.schedules --config configs/schedules_cifar10.py:quick    30 epochs
    python -m benchmarks.schedules --config configs/schedules_cifar10.py:small    10,000 images
    python -m benchmarks.schedules --config configs/schedules_cifar10.py:tiny     for a laptop's CPU

Expected time: `--dry_run` estimates it for the devices that are there; `:tiny` about 15 minutes.
Expected score: none is published. The recipe is that of the position table.
"""

import ml_collections

from configs.cifar10 import get_config as cifar10


def get_config(form: str = "full") -> ml_collections.ConfigDict:
    config = cifar10(form)
    config.dropout_switch = 1 / 6  # as published: 50 of 300 epochs
    return config
