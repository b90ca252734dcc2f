import re

import jax
import pytest

from benchmarks.throughput import ours
from benchmarks.throughput.profile import main, profile
from flaxdrop.models import PreResNet
from flaxdrop.training.recipe import Recipe
from flaxdrop.training.steps import Task

pytestmark = [pytest.mark.optimised, pytest.mark.slow]


def test_the_account_of_a_small_network_has_its_layers_and_about_the_time_of_its_steps():
    examples, steps = 512, 6
    model = PreResNet(10, ours.workload.CLASSES, widths=(4, 8))
    task = Task(model, Recipe(epochs=10, batch=64, crop=1, flip=True), examples)
    images = ours.noise_images(examples, 16)
    placement = ours.make_placement(model, "p6", 0.1)
    # A kept program may have older names.
    jax.config.update("jax_enable_compilation_cache", False)
    try:
        table = profile(task, images, placement, jax.devices()[:1], steps)
    finally:
        jax.config.update("jax_enable_compilation_cache", True)
    parts = " ".join([*(cells[0] for cells in table.cells), *table.notes])
    for part in ("stage 1, convolutions, forward", "gradient of kernel", "batch norm, backward"):
        assert part in parts
    accounted = float(table.cells[-1][2])
    untraced = float(re.search(r"([\d.]+) ms a step without", table.notes[0])[1])
    assert untraced / 5 < accounted < 5 * untraced


def test_a_mistake_is_said_in_one_line(capsys):
    assert main(["--steps", "0"]) == 2
    assert capsys.readouterr().err == "error: steps: must be at least 1, got 0\n"
