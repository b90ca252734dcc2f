"""One experiment is trained once, whatever configs it is in, and shown in all of them."""

from benchmarks.reproduction.experiments import distinct, experiment, places, rows_of
from benchmarks.reproduction.jobs import all_jobs


def job_of(name):
    return next(job for job in all_jobs() if job.name == name)


LOW, HIGH = job_of("cifar100:small"), job_of("cifar100:small, rate=0.3")


def test_no_dropout_is_one_experiment_at_all_rates_and_in_all_studies():
    assert experiment(LOW, "none") == experiment(HIGH, "none")
    assert experiment(LOW, "p6") != experiment(HIGH, "p6")
    positions, schedules = job_of("cifar10:small, rate=0.3"), job_of("schedules_cifar10:small")
    assert experiment(positions, "none") == experiment(schedules, "none")
    head = job_of("head_cifar10:small")
    assert experiment(positions, "none") == experiment(head, "none")


def test_a_constant_schedule_is_the_position():
    positions, schedules = job_of("cifar10:quick"), job_of("schedules_cifar10:quick")
    assert experiment(positions, "p6") == experiment(schedules, "constant")
    others = [name for name in schedules.every_variant if name not in ("none", "constant")]
    assert len({experiment(schedules, name) for name in [*others, "constant"]}) == len(others) + 1


def test_another_recipe_or_dataset_is_another_experiment():
    quick, other = job_of("cifar100:quick"), job_of("cifar10:small, rate=0.3")
    assert len({experiment(job, "none") for job in (LOW, quick, other)}) == 3


def test_no_experiment_is_wanted_of_two_configs():
    jobs = distinct(all_jobs())
    wanted = {}
    for job in jobs:
        for name in job.wanted_variants:
            own = wanted.setdefault(experiment(job, name), (job.study.name, job.config_hash, name))
            assert own == (job.study.name, job.config_hash, name)
    # None is lost.
    assert set(wanted) == {
        experiment(job, name) for job in all_jobs() for name in job.wanted_variants
    }


def test_rows_are_shown_wherever_they_belong(rows_of_job):
    known = places(all_jobs())
    rows = {
        "preresnet": [*rows_of_job(HIGH, {"none": [0.4, 0.41]}), *rows_of_job(LOW, {"p6": [0.4]})]
    }
    assert [(row.variant, row.seed) for row in rows_of(LOW, known, rows)] == [
        ("none", 0),
        ("none", 1),
        ("p6", 0),
    ]
    schedules = job_of("schedules_cifar10:small")
    assert rows_of(schedules, known, rows) == []
    (there, name), *_ = known[experiment(schedules, "constant")]
    (row,) = rows_of(schedules, known, {there.study.name: rows_of_job(there, {name: [0.5]})})
    assert (row.study, row.variant) == ("schedules", "constant")


def test_of_two_rows_the_configs_own_is_shown(rows_of_job):
    rows = {"preresnet": [*rows_of_job(HIGH, {"none": [0.4]}), *rows_of_job(LOW, {"none": [0.5]})]}
    (row,) = rows_of(LOW, places(all_jobs()), rows)
    assert row.last_accuracy == 0.5
