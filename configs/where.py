"""Where dropout goes in a network of yours: on the digits, in minutes on two cores.

    python -m benchmarks.where --network my_networks:make --config configs/where.py

Change `--config.dataset` to train on your images (npz:FILE, folder:DIR, cifar10, cifar100), and the
recipe to what your network is trained with. As in configs/digits.py, 300 of the digits train the
network, so that it memorises them and there is something for dropout to mend.
"""

import ml_collections

from benchmarks.where import WhereSettings


def get_config() -> ml_collections.ConfigDict:
    config = WhereSettings.config()
    config.dataset = "digits"
    config.train_examples = 300
    config.epochs = 30
    config.batch = 50
    config.weight_decay = 0.0
    return config
