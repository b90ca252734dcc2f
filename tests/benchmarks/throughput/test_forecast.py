import json
import math

import pytest

from benchmarks.harness.catalog import load_settings, load_study
from benchmarks.throughput import forecast
from benchmarks.throughput.forecast import Run, held_against, recorded, settings_flops, study_hours


def test_machines_of_one_speed_are_predicted_exactly():
    runs = [Run(str(i), 3, flops, flops / 5e9) for i, flops in enumerate((1e12, 4e12, 7e13))]
    assert forecast.speed_of(runs) == pytest.approx(5e9)
    assert [line[-1] for line in held_against(runs).cells] == ["1.00"] * 3
    slow = [*runs, Run("slow", 1, 1e12, 400.0)]  # half the speed
    assert held_against(slow).cells[-1][-1] == "0.50"


@pytest.mark.parametrize(("devices", "rounds"), [(1, 27), (8, 4), (26, 2), (27, 1), (4096, 1)])
def test_no_device_trains_more_than_its_share_and_a_cell_is_the_least(devices, rounds):
    assert study_hours(27, 2.5, devices) == 2.5 * rounds


def test_the_flops_of_a_cell_are_those_of_its_steps_and_tests():
    settings = load_settings(load_study("preresnet"), "configs/digits.py")
    every = settings_flops("preresnet", settings)
    assert len(every) == 9
    assert len(set(every.values())) == 1  # dropout costs no products
    twice = settings_flops(
        "preresnet", load_settings(load_study("preresnet"), "configs/digits.py", epochs=60)
    )
    assert twice["none"] == 2 * every["none"]


def test_recorded_rows_are_read_config_by_config(tmp_path):
    lines = forecast.LEDGER.joinpath("pooling.jsonl").read_text().splitlines()[:4]
    (tmp_path / "pooling.jsonl").write_text("".join(f"{line}\n" for line in lines))
    (run,) = recorded(tmp_path)
    seconds = sorted(json.loads(line)["wall_seconds"] for line in lines)
    assert run.cells == 4
    assert math.isclose(run.seconds, (seconds[1] + seconds[2]) / 2)
    assert run.flops > 1e12
