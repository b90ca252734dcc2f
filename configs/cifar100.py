"""The position table of Kim et al. (UAI 2023) on CIFAR-100: PreResNet-110, nine variants.

    python -m benchmarks.preresnet --config configs/cifar100.py          164 epochs, 3 seeds
    python -m benchmarks.preresnet --config configs/cifar100.py:quick    30 epochs, for one GPU
    python -m benchmarks.preresnet --config configs/cifar100.py:small    10,000 images
    python -m benchmarks.preresnet --config configs/cifar100.py:tiny     for a laptop's CPU

Expected time: `--dry_run` estimates it for the devices that are there; `:tiny` about 15 minutes.
Expected score: 73.98 % is the paper's (its position and rate are not stated).
The recipe is inferred (that of bearpaw/pytorch-classification); the rate of the dropout is ours.
"""

import ml_collections

from configs.cifar10 import get_config as cifar10


def get_config(form: str = "full") -> ml_collections.ConfigDict:
    config = cifar10(form)
    config.dataset = "cifar100"
    return config
