"""Dropout around the classifier on frozen features of DenseNet-121: CIFAR-10, or any folder.

    python -m benchmarks.transfer --config configs/transfer_cifar10.py          10 seeds
    python -m benchmarks.transfer --config configs/transfer_cifar10.py:quick    5 seeds
    python -m benchmarks.pretrain --config configs/pretrain_cifar100.py:tiny    makes FILE
    python -m benchmarks.transfer --config configs/transfer_cifar10.py:tiny --config.weights=FILE

Images of your own: `--config.dataset=folder:DIR` (and `--config.train_examples=0
--config.test_examples=0` for all of them). Without `--config.weights` Keras's are downloaded.

Expected time: `--dry_run` estimates it for the devices that are there; `:tiny` about 3 minutes.
Expected score: none is published for these images. The question's: 94.49 % without dropout and
96.82 % with rate 0.5 before the classifier, for 9 classes.
"""

import ml_collections

from benchmarks.transfer import TransferSettings


def get_config(form: str = "full") -> ml_collections.ConfigDict:
    if form not in ("full", "quick", "tiny"):
        raise ValueError(f"config: unknown form {form!r}, choose full, quick or tiny")
    config = TransferSettings.config()
    config.dataset = "cifar10"
    config.image_size = 224
    config.weights = "keras-densenet121-notop"
    # Those of ImageNet, which published weights and those of `benchmarks.pretrain` expect.
    config.mean = (0.485, 0.456, 0.406)
    config.std = (0.229, 0.224, 0.225)
    config.train_examples = 4000
    config.test_examples = 4000
    config.seeds = 10
    config.devices = 1
    config.cells_per_device = 50
    config.epochs = 50
    config.batch = 32
    config.optimizer = "adam"
    config.learning_rate = 0.001
    config.schedule = "constant"
    config.weight_decay = 0.0
    if form == "quick":
        config.seeds = 5
        config.cells_per_device = 25
    if form == "tiny":
        config.image_size = 64
        config.rates = (0.2, 0.5, 0.8)
        config.train_examples = 1000
        config.test_examples = 1000
    return config
