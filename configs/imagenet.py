"""Dropout in the head of DenseNet-169 on ImageNet, and the positions in PreResNet-50.

    python -m benchmarks.head --config configs/imagenet.py                  DenseNet-169
    python -m benchmarks.preresnet --config configs/imagenet.py:resnet      PreResNet-50

Data: a folder `imagenet2012` in --config.data_dir, which has train/ and test/ (the images for
validation), and in each a folder a class. `pip install ".[images]"` for Grain, which reads them.
Expected time: `--dry_run` estimates it for the devices that are there.
Expected score: 79.152 % is the paper's, of one DenseNet-169 with H4* (the meaning of the star is
not known); its H4 has rate 0.2.

Published: network, place and rate. The recipe is not known to us: all else is ours, the photos
those of configs/caltech101.py.
"""

import ml_collections

from benchmarks.head import HeadSettings
from benchmarks.preresnet import PreResNetSettings


def get_config(form: str = "densenet") -> ml_collections.ConfigDict:
    if form not in ("densenet", "resnet"):
        raise ValueError(f"config: unknown form {form!r}, choose densenet or resnet")
    config = (HeadSettings if form == "densenet" else PreResNetSettings).config()
    config.dataset = "imagenet2012"
    config.augmentation = "photo"
    config.image_size = 224
    config.mean = (0.485, 0.456, 0.406)
    config.std = (0.229, 0.224, 0.225)
    config.stem = "imagenet"
    config.widths = (64, 128, 256, 512)
    config.seeds = 1
    if form == "densenet":
        config.network = "densenet"
        config.depth = 169
        config.growth = 32
        config.rates = (0.2,)
    else:
        config.depth = 50
        config.block = "bottleneck"
        config.rate = 0.1

    config.epochs = 90
    config.batch = 256
    config.learning_rate = 0.1
    config.momentum = 0.9
    config.weight_decay = 1e-4
    config.schedule = "cosine"
    return config
