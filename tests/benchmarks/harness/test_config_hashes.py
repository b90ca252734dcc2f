"""A config trains the same cells as ever: the hash of what their results depend on is pinned."""

import pytest

from benchmarks.harness.catalog import load_settings, load_study
from flaxdrop.results.provenance import config_hash

HASHES = {
    "preresnet": {
        "cifar10.py:full": "375826e8715e",
        "cifar10.py:quick": "bed274ec7cb3",
        "cifar10.py:small": "48332e8ef5d6",
        "cifar10.py:tiny": "96e6b9185bcf",
        "cifar100.py:full": "cbb6f6c0ebfa",
        "cifar100.py:quick": "abf185e77471",
        "cifar100.py:small": "3783d24b15c0",
        "cifar100.py:tiny": "a09b62d3b1b1",
        "digits.py": "c63f7a5c819e",
        "caltech101.py:full": "abcf80cb548c",
        "caltech101.py:50": "519e635d5bc2",
        "caltech101.py:tiny": "5dfb9413f66a",
        "pets.py:full": "ba07f3ae05dc",
        "pets.py:50": "e2be01e29082",
        "imagenet.py:resnet": "46eb22eaf3ed",
    },
    "head": {
        "imagenet.py:densenet": "a5ecb6d1cbb3",
        "head_cifar10.py:full": "f433e6026a95",
        "head_cifar10.py:quick": "6caccb5c820f",
        "head_cifar10.py:small": "c0a832a6902c",
        "head_cifar10.py:tiny": "6bde6efe3c3f",
        "head_digits.py": "c9c4b8d66ada",
    },
    "pooling": {
        "pooling_cifar10.py:full": "4d0e096cb8da",
        "pooling_cifar10.py:quick": "20b2dc0fc89b",
        "pooling_cifar10.py:small": "7e7be7e9cea5",
        "pooling_cifar10.py:tiny": "8a0dbf824383",
        "pooling_digits.py": "d7b3373720da",
    },
    "pretrain": {
        "pretrain_cifar100.py:full": "1bfa9e8b4150",
        "pretrain_cifar100.py:quick": "296cefba3e3b",
        "pretrain_cifar100.py:tiny": "e4633e6c4620",
    },
    "schedules": {
        "schedules_cifar10.py:full": "c5e7ef1422ff",
        "schedules_cifar10.py:quick": "5170f3229c0b",
        "schedules_cifar10.py:small": "4a1e5ce87232",
        "schedules_cifar10.py:tiny": "314682fec100",
        "schedules_digits.py": "38b41bc31477",
    },
    "transfer": {
        "transfer_cifar10.py:full": "063be70896ad",
        "transfer_cifar10.py:quick": "7a69ad0417f2",
        "transfer_cifar10.py:tiny": "3fef7e87e666",
        "transfer_digits.py": "84aa3ed1862d",
    },
    "vgg_depth": {
        "vgg_cifar10.py:full": "cd090e0460de",
        "vgg_cifar10.py:quick": "9ee470a1a11a",
        "vgg_cifar10.py:small": "159be848d74a",
        "vgg_cifar10.py:tiny": "1f4dde889c85",
        "vgg_digits.py": "498981ec8eff",
    },
}
CASES = [(study, *item) for study, configs in HASHES.items() for item in configs.items()]


@pytest.mark.parametrize(("study", "config", "expected"), CASES)
def test_a_config_has_the_hash_that_its_rows_have(study, config, expected):
    settings = load_settings(load_study(study), f"configs/{config}")
    assert config_hash(settings.identity()) == expected
