"""Schedules of dropout at P6 of PreResNet-110 on CIFAR-10: seven variants.

    python -m benchmarks.schedules --config configs/schedules_cifar10.py          164 epochs
    python -m benchmarks.schedules --config configs/schedules_cifar10.py:quick    30 epochs
    python -m benchmarks.schedules --config configs/schedules_cifar10.py:tiny     for a laptop's CPU

Expected time: `--dry_run` estimates it for the devices that are there; `:tiny` about 10 minutes.
Expected score: none is published. The recipe is that of the position table.
"""

import ml_collections

from benchmarks.schedules import SchedulesSettings


def get_config(form: str = "full") -> ml_collections.ConfigDict:
    if form not in ("full", "quick", "tiny"):
        raise ValueError(f"config: unknown form {form!r}, choose full, quick or tiny")
    config = SchedulesSettings.config()
    config.dataset = "cifar10"
    config.mean = (0.4914, 0.4822, 0.4465)
    config.std = (0.2023, 0.1994, 0.2010)
    config.crop = 4
    config.flip = True

    config.depth = 110
    config.rate = 0.1
    config.seeds = 3

    config.epochs = 164
    config.batch = 128
    config.learning_rate = 0.1
    config.momentum = 0.9
    config.weight_decay = 1e-4
    config.schedule = "step"
    config.decay_at = (81 / 164, 122 / 164)
    config.decay = 0.1
    if form == "quick":
        config.epochs = 30
    if form == "tiny":
        # Not augmented, and so many epochs that the baseline learns its examples by heart (94 % of
        # them in CIFAR-100): a regulariser has something to do. Chosen by the training accuracy of
        # the baseline alone; augmented, 40 epochs reached 35 %.
        config.image_size = 16
        config.crop = 0
        config.flip = False
        config.train_examples = 2000
        config.test_examples = 2000
        config.depth = 20
        config.epochs = 30
        config.batch = 50
    return config
