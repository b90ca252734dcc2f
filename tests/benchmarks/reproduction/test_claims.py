"""The claims of every study name its variants, and a theorem's proof is there."""

import pathlib

import pytest

from benchmarks.reproduction.jobs import all_jobs
from flaxdrop.results.claims import HOLDS, PROVED, judge

ROOT = pathlib.Path(__file__).parents[3]
STUDIES = {job.study.name: job.study for job in all_jobs()}
CLAIMS = [(name, claim) for name, study in STUDIES.items() for claim in study.claims]


@pytest.mark.parametrize(("study", "claim"), CLAIMS, ids=lambda value: getattr(value, "words", ""))
def test_every_contrast_is_of_variants_of_its_study(study, claim):
    known = {name for job in all_jobs() if job.study.name == study for name in job.every_variant}
    assert {variant for pair in claim.contrasts for variant in pair} <= known
    assert claim.sign in (1, -1)


@pytest.mark.parametrize(("study", "claim"), CLAIMS, ids=lambda value: getattr(value, "words", ""))
def test_a_proof_is_a_test(study, claim):
    assert study in STUDIES
    if claim.proof:
        file, _, name = claim.proof.partition("::")
        assert f"def {name}(" in (ROOT / file).read_text()
        assert judge(claim, STUDIES[study].compare([], ())).verdict == PROVED


def test_the_head_is_judged_by_the_variance_of_its_logits(rows_of_job):
    job = next(job for job in all_jobs() if job.name == "head_cifar10:small")
    (claim,) = job.study.claims
    rows = [
        row
        for place, size in (("h4", 1.0), ("h5", 3.0))
        for rate in ("0.2", "0.5")
        for seed in range(3)
        for row in rows_of_job(
            job,
            {f"{place} {rate}": [0.8] * (seed + 1)},
            measured={"logit_variance": size * (1 + 0.1 * seed)},
        )[-1:]
    ]
    found = judge(claim, job.study.compare(rows, job.every_variant))
    assert found.verdict == HOLDS
    assert found.missing == ()
