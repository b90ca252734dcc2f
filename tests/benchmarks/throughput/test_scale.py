import jax
import pytest

from benchmarks.throughput import scale
from benchmarks.throughput.scale import QUICK, Point, Sizes, main, spread, sweeps, table
from flaxdrop.plots.scaling import Cost

PNG = b"\x89PNG"


class Accelerator:
    platform = "gpu"


def test_every_sweep_grows_in_one_thing():
    for sweep in sweeps(Sizes(), jax.devices()):
        fields = [vars(point) for point in sweep.points.values()]
        same = {name for name in fields[0] if len({each[name] for each in fields}) == 1}
        assert set(fields[0]) - same == {sweep.what}
        assert [each[sweep.what] for each in fields] == list(sweep.points)


def test_cells_go_across_the_devices_first():
    two = [Accelerator(), Accelerator()]
    assert spread(1, two) == (two[:1], 1)
    assert spread(2, two) == (two, 1)
    assert spread(3, two) is None
    assert spread(4, two) == (two, 2)
    assert spread(len(jax.devices()) + 1, jax.devices()) is None


def test_the_table_tells_the_deviation_from_the_line():
    costs = [Cost(size, 2.0 * size, 5.0 + (size == 2), 2**20) for size in (1, 2, 3)]
    *_, slope, deviation = table("cells", costs).cells
    assert (slope[1], deviation[1], deviation[3]) == ("2", "0.0%", "0.0%")
    assert 5 < float(deviation[2].rstrip("%")) < 20


def test_it_prints_and_draws_what_it_measured(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(scale, "measure", lambda point, *_: (point.depth * 0.1, 9.0, 2**20))
    monkeypatch.setattr(jax.config, "update", lambda *_: None)
    assert main(["--folder", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert "| 1202 | 120.2 | 9 | 1 |" in printed
    for what in ("depth", "batch", "slots"):
        assert (tmp_path / f"scale_{what}.png").read_bytes().startswith(PNG)
    assert not (tmp_path / "scale_cells.png").exists()  # of two devices: no line to see


@pytest.mark.slow
def test_a_measured_point_has_time_and_memory():
    images = scale.ours.noise_images(16, QUICK.side)
    point = Point(QUICK.depth, QUICK.batch)
    step, compiling, memory = scale.measure(point, images, jax.devices(), QUICK.seconds)
    assert 0 < step < 10
    assert compiling > 0
    assert memory > 0


def test_a_folder_that_is_not_there_is_a_mistake(tmp_path, capsys):
    assert main(["--quick", "--folder", str(tmp_path / "none")]) == 2
    words = capsys.readouterr().err
    assert words.count("\n") == 1
    assert "folder" in words
