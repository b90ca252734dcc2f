import numpy as np
import pytest

from benchmarks.findings.agreement import agreement
from benchmarks.reproduction.jobs import all_jobs

PUBLISHED = {"BN": 0.85, "conv 0.2": 0.87, "conv 0.5": 0.80, "dense 0.2": 0.86}
JOB = next(job for job in all_jobs() if job.name == "vgg_cifar10:small")


@pytest.fixture
def compared(rows_of_job):
    def make(**means):
        noise = np.random.default_rng(0)
        accuracies = {name: list(mean + noise.normal(0, 0.001, 4)) for name, mean in means.items()}
        return JOB.study.compare(rows_of_job(JOB, accuracies), JOB.every_variant)

    return make


def test_what_is_significant_agrees_or_not_by_its_sign(compared):
    found = compared(**{"BN": 0.80, "conv 0.2": 0.83, "conv 0.5": 0.82, "dense 0.2": 0.8009})
    kinds = {line.split(", ")[1].split(":")[0]: line for line in agreement(found, PUBLISHED)}
    assert "conv 0.2 (+" in kinds["agrees"]
    assert "published +2.00" in kinds["agrees"]
    assert "conv 0.5 (+" in kinds["does not agree"]
    assert "dense 0.2" in kinds["undecided"]


def test_what_is_not_published_is_left_out(compared):
    found = compared(**{"BN": 0.80, "dense 0.5": 0.9})
    assert agreement(found, PUBLISHED) == []
    assert agreement(found, {}) == []
