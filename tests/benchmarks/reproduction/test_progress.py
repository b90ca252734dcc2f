"""The configs with the rows that are there of them, in the page's order."""

from benchmarks.reproduction.jobs import all_jobs
from benchmarks.reproduction.progress import by_rate, runs_of


def part_of(name):
    return next(job for job in all_jobs() if job.name == name)


LOW, MIDDLE, HIGH = (
    part_of(name)
    for name in ("cifar100:small", "cifar100:small, rate=0.3", "cifar100:small, rate=0.5")
)


def runs_with(rows_of_job, *jobs):
    rows = {}
    for job in jobs:
        rows.setdefault(job.study.name, []).extend(rows_of_job(job, {"none": [0.4]}))
    return runs_of(all_jobs(), rows)


def test_the_fullest_form_comes_first():
    names = [run.job.name for run in runs_of(all_jobs(), {})]
    forms = ("full", "quick", "small")
    assert names[:3] == [f"cifar100:{form}, rate=0.3" for form in forms]
    assert len(set(names)) == len(names)
    assert sum(len(run.wanted) for run in runs_of(all_jobs(), {})) == sum(
        len(run.missing) for run in runs_of(all_jobs(), {})
    )


def test_runs_that_differ_in_the_rate_alone_belong_together(rows_of_job):
    other = part_of("cifar10:small, rate=0.3")
    vgg = part_of("vgg_cifar10:small")
    vgg_rows = rows_of_job(vgg, {"BN": [0.4]})
    runs = runs_with(rows_of_job, HIGH, LOW, other, part_of("cifar100:quick, rate=0.3"))
    runs = [*runs, *runs_of([vgg], {vgg.study.name: vgg_rows})]
    (rates,) = by_rate(runs)
    assert list(rates.runs) == [0.1, 0.5]
    assert rates.last.job.name == "cifar100:small, rate=0.5"
    assert rates.name == "cifar100:small, by rate"


def test_a_rate_without_rows_is_no_rate(rows_of_job):
    assert by_rate(runs_with(rows_of_job, MIDDLE)) == []
    (rates,) = by_rate(runs_with(rows_of_job, MIDDLE, LOW))
    assert list(rates.runs) == [0.1, 0.3]
