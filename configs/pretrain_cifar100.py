"""DenseNet-121 with its stem for ImageNet, trained on CIFAR-100 for `benchmarks.transfer`.

    python -m benchmarks.pretrain --config configs/pretrain_cifar100.py          90 epochs
    python -m benchmarks.pretrain --config configs/pretrain_cifar100.py:quick    30 epochs
    python -m benchmarks.pretrain --config configs/pretrain_cifar100.py:tiny     for a laptop's CPU

Expected time: `--dry_run` estimates it for the devices that are there; `:tiny` about 15 minutes.
Expected score: none is published for images this small, which the stem for ImageNet brings down
to a thirty-second of their side: it learns features, not to win.
"""

import ml_collections

from benchmarks.pretrain import PretrainSettings


def get_config(form: str = "full") -> ml_collections.ConfigDict:
    if form not in ("full", "quick", "tiny"):
        raise ValueError(f"config: unknown form {form!r}, choose full, quick or tiny")
    config = PretrainSettings.config()
    config.dataset = "cifar100"
    # Those of ImageNet, which published weights expect as well.
    config.mean = (0.485, 0.456, 0.406)
    config.std = (0.229, 0.224, 0.225)
    config.crop = 4
    config.flip = True
    config.seeds = 1
    config.devices = 1
    config.epochs = 90
    config.batch = 128
    config.schedule = "cosine"
    if form == "quick":
        config.epochs = 30
    if form == "tiny":
        config.train_examples = 10_000
        config.test_examples = 2000
        config.epochs = 10
        config.batch = 64
        config.learning_rate = 0.05
    return config
