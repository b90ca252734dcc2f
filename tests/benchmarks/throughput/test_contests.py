import argparse

from benchmarks.throughput import __main__ as command
from benchmarks.throughput import contests, roofline, workload
from benchmarks.throughput.contest import Result

FAST, SLOW, OUT = Result((30.0, 40.0)), Result((10.0, 10.0)), Result(failure="no torch")


def by_what(measurements):
    return {measurement.what: measurement for measurement in measurements}


def test_speeds_are_compared_round_by_round():
    quick, slow = Result((4.0, 2.0, 8.0)), Result((2.0, 1.0, 8.0))
    found = contests.compared("", quick, slow)
    assert (found.value, found.low, found.high) == (2.0, 1.0, 2.0)
    assert contests.compared("", quick, OUT).note == "no torch"


def test_the_layer_is_asked_for_eight_times_the_speed_and_twice_a_product():
    contest = contests.layer("1")
    found = by_what(
        contest.measurements({"flaxdrop": FAST, "flax": SLOW, "product": Result((45.0, 60.0))})
    )
    speed, cost = found.values()
    assert (speed.value, speed.low, speed.high, speed.reached) == (3.5, 3.0, 4.0, False)
    assert (cost.value, cost.reached) == (1.5, True)


def test_the_best_of_pytorch_counts_and_one_that_fails_does_not():
    contest = contests.baselines("vgg", (), (0, 1), gpu=False, compiled=True)
    found = {contestant.name: OUT for contestant in contest.contestants} | {
        "flaxdrop": FAST,
        "Flax": SLOW,
    }
    found["PyTorch eager, one a core"] = Result((20.0, 50.0))
    found["PyTorch eager"] = Result((1.0, 1.0))
    flax, torch = contest.measurements(found)
    assert flax.reached
    assert torch.what == "vgg, images/s against PyTorch eager, one a core"
    assert (torch.value, torch.reached) == ((1.5 + 0.8) / 2, True)


def test_without_pytorch_the_row_says_why():
    contest = contests.baselines("vgg", (), (0, 1), gpu=False, compiled=False)
    found = {contestant.name: OUT for contestant in contest.contestants} | {
        "flaxdrop": FAST,
        "Flax": SLOW,
    }
    assert contest.measurements(found)[1].note == "no torch"


def test_on_a_gpu_the_hours_of_the_table_follow_from_the_speed():
    contest = contests.baselines("preresnet110", (), (0,), gpu=True, compiled=False)
    speed = 27 * 164 * 50_000 / 3600  # images a second that take one hour
    hours = contest.measurements(
        {"flaxdrop": Result((speed,) * 2), "Flax": SLOW, "PyTorch eager": SLOW}
    )[-1]
    assert (hours.value, hours.reached) == (1.0, True)


def test_memory_is_compared_once():
    contest = contests.slots("preresnet20", ())
    none, p6 = (Result((1.0,), {"temporary_bytes": count}) for count in (100, 102))
    memory = contest.measurements({"none": none, "p6": p6, "all": p6})[1]
    assert (memory.value, memory.reached) == (1.02, False)


def test_the_share_of_the_roofline_is_that_of_the_longer_bound():
    contest = contests.bounds("preresnet20", "float32", ())
    flops = 1e9
    moved = roofline.bytes_per_image(workload.WORKLOADS["preresnet20"], "float32") / 1e9
    ours = Result((0.25, 0.5), {"flops_per_image": flops})
    peaks = {"products": Result((1.0, 1.0)), "bytes": Result((4 * moved, moved / 2))}
    (share,) = contest.measurements({"flaxdrop": ours, **peaks})
    # An image takes a second of products, then two of bytes.
    assert (share.low, share.high) == (0.25, 1.0)
    (none,) = contest.measurements({"flaxdrop": ours, **peaks, "bytes": OUT})
    assert (none.value, none.note) == (None, "no torch")


def test_every_option_is_a_contest():
    options = argparse.Namespace(
        seconds=1.0,
        workloads="preresnet110,vgg",
        precision="float32",
        compile=False,
        fixed_batch=True,
    )
    assert [contestant.name for contestant in command.chosen(options, "cpu")] == [
        "layer",
        "slots of preresnet110",
        "roofline of preresnet110",
        "devices on preresnet110",
        "baselines on preresnet110",
        "baselines on vgg",
        "baselines on preresnet110 on one batch",
    ]


def test_mistakes_are_one_line(capsys):
    assert command.main(["--workloads", "resnet"]) == 2
    assert "workloads: unknown 'resnet', choose among" in capsys.readouterr().err
    assert command.main(["--rounds", "0"]) == 2
    assert "rounds" in capsys.readouterr().err
