"""The configs with the rows that are there of them, in the page's order."""

from benchmarks.reproduction.jobs import all_jobs
from benchmarks.reproduction.progress import by_rate, progress


def job_of(name):
    return next(job for job in all_jobs() if job.name == name)


LOW, MIDDLE, HIGH = (
    job_of(name)
    for name in ("cifar100:small", "cifar100:small, rate=0.3", "cifar100:small, rate=0.5")
)


def progress_with(rows_of_job, *jobs, variant="p6"):
    rows = {}
    for job in jobs:
        rows.setdefault(job.study.name, []).extend(rows_of_job(job, {variant: [0.4]}))
    return progress(all_jobs(), rows)


def test_the_fullest_form_comes_first():
    names = [run.job.name for run in progress(all_jobs(), {})]
    forms = ("full", "quick", "small")
    assert names[:3] == [f"cifar100:{form}, rate=0.3" for form in forms]
    assert len(set(names)) == len(names)
    assert all(run.missing == sorted_by_table(run) for run in progress(all_jobs(), {}))


def sorted_by_table(run):
    order = list(run.job.every_variant)
    return sorted(run.wanted, key=lambda cell: (order.index(cell[0]), cell[1]))


def test_configs_that_differ_in_the_rate_alone_belong_together(rows_of_job):
    other = job_of("cifar10:small, rate=0.3")
    runs = progress_with(rows_of_job, HIGH, LOW, other, job_of("cifar100:quick, rate=0.3"))
    (rates,) = by_rate(runs)
    assert list(rates.runs) == [0.1, 0.5]
    assert rates.last.job.name == "cifar100:small, rate=0.5"
    assert rates.name == "cifar100:small, by rate"
    assert rates.comparison.rates == (0.1, 0.5)


def test_a_rate_of_which_there_is_no_dropout_is_no_rate(rows_of_job):
    assert by_rate(progress_with(rows_of_job, MIDDLE)) == []
    assert by_rate(progress_with(rows_of_job, MIDDLE, LOW, variant="none")) == []
    (rates,) = by_rate(progress_with(rows_of_job, MIDDLE, LOW))
    assert list(rates.runs) == [0.1, 0.3]


def test_every_comparison_is_made_once():
    run = progress(all_jobs(), {})[0]
    assert run.comparison is run.comparison
