"""The position table of Kim et al. (UAI 2023) on Oxford-IIIT Pets: residual networks, 224 pixels.

    python -m benchmarks.preresnet --config configs/pets.py          PreResNet-101, 3 seeds
    python -m benchmarks.preresnet --config configs/pets.py:50       PreResNet-50

Data: a folder `oxford_iiit_pet` in --config.data_dir, which has a folder for each of the 37 breeds;
7,390 images. `pip install ".[images]"` for Grain, which reads them.
Expected time: `--dry_run` estimates it for the devices that are there.
Expected score: 85.5897 % is the paper's, of PreResNet-101 (its position and rate are not stated;
inferred: a mean over 3 seeds, of 15 % of the images). The authors' example is a network of depth 50
with P6.

The recipe is that of configs/caltech101.py, which says what is published of it and what is ours.
"""

import ml_collections

from configs import caltech101


def get_config(form: str = "full") -> ml_collections.ConfigDict:
    if form not in ("full", "50"):
        raise ValueError(f"config: unknown form {form!r}, choose full or 50")
    config = caltech101.get_config(form)
    config.dataset = "oxford_iiit_pet"
    return config
