"""Images that are read while a network trains: the same training as with images on the device."""

import dataclasses
import os
import re
import shutil
import time

import chex
import jax
import numpy as np
import pytest
from PIL import Image

from flaxdrop.data import load, stream
from flaxdrop.placement import Placement
from flaxdrop.training import cells, steps, streaming
from flaxdrop.training.recipe import Recipe
from flaxdrop.training.task import Cell, Task
from flaxdrop.training.tracing import stack

TRAIN, TEST, SIDE, BATCH = 21, 5, 6, 4


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two classes of PNG files, so that what is read is what was written."""
    root, random = tmp_path_factory.mktemp("images"), np.random.RandomState(0)
    for split, count in (("train", TRAIN), ("test", TEST)):
        for i in range(count):
            path = root / split / ("ant", "bee")[i % 2] / f"{i:02}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(random.randint(0, 256, (SIDE, SIDE, 3)).astype(np.uint8)).save(path)
    return root


def images_of(folder, most_bytes):
    dataset = load(f"folder:{folder}", image_size=SIDE, most_bytes=most_bytes)
    return cells.to_images(dataset, (0.5,) * 3, (0.25,) * 3)


@pytest.fixture(scope="module")
def kept(folder):
    return images_of(folder, 1e9)


@pytest.fixture(scope="module")
def streamed(folder):
    return images_of(folder, 0)


@pytest.fixture(scope="module")
def task(network):
    recipe = Recipe(epochs=2, batch=BATCH, crop=1, flip=True)
    return Task(network.clone(num_classes=2), recipe, examples=TRAIN)


def make_cell(task, seed=0, rate=0.5, subset=None):
    placement = Placement({"hidden": rate, "lost": 0.0}).broadcast(task.model.slots)
    return Cell(key=jax.random.key(seed), placement=placement, subset=subset)


def test_one_rule_says_where_images_are(kept, streamed):
    assert not streaming.is_streamed(kept)
    assert streaming.is_streamed(streamed)
    np.testing.assert_array_equal(streamed.x_train, kept.x_train)
    np.testing.assert_array_equal(streamed.y_test, kept.y_test)


@pytest.fixture(scope="module")
def programs(task, streamed):
    """Two cells at a time."""
    return streaming.compile_streamed_programs(
        task, streamed, make_cell(task), jax.devices("cpu")[:2]
    )


def trained(programs, together, counts):
    placed = programs.place(together)
    states = programs.start(placed)
    for count in counts:
        states = programs.train(count, placed, states)
        if int(states.step[0]) % (TRAIN // BATCH) == 0:
            states = programs.evaluate(states)
    return jax.device_get(states)


def test_cells_are_those_whose_images_are_on_the_device(task, kept, programs):
    # With seed 0 a unit is -1.00 +- 0.09 on the four images of the first batch: their variance is
    # a difference of squares, which magnifies roundings a hundredfold.
    together = [make_cell(task, 2), make_cell(task, 1, rate=0.0)]
    own = cells.compile_programs(task, kept, together[0], jax.devices("cpu")[:2])
    expected = trained(own, together, (5, 5))
    found = trained(programs, together, (5, 5))
    assert np.isfinite(expected.curve).all()
    np.testing.assert_array_equal(found.right, expected.right)
    chex.assert_trees_all_close(found, expected, rtol=1e-4, atol=1e-5)


def test_any_split_into_calls_gives_the_same_bits(task, programs, bits_of):
    together = [make_cell(task, 0), make_cell(task, 0, rate=0.1)]
    assert bits_of(trained(programs, together, (2, 1, 2))) == bits_of(
        trained(programs, together, (5,))
    )


def batches_of(task, images, form="square", subset=None, seed=0):
    """Those that the feed reads for a cell."""
    images = images.replace(x_train=dataclasses.replace(images.x_train, form=form))
    feed = streaming._Feed(task, images, workers=0)
    return feed._batches_of(jax.random.key(seed), subset)


@pytest.mark.parametrize("subset", [None, np.arange(3, 20, dtype=np.int32)])
def test_batches_are_those_of_the_compiled_step(task, kept, streamed, subset):
    examples = TRAIN if subset is None else len(subset)
    task = Task(task.model, Recipe(epochs=2, batch=BATCH), examples)
    found = batches_of(task, streamed, subset=subset)
    for step in (0, 3, task.steps_per_epoch + 1):
        rows = steps.examples_of_step(task, make_cell(task, subset=subset), np.int32(step))
        x, y = found(step)
        np.testing.assert_array_equal(x, kept.x_train[rows])
        np.testing.assert_array_equal(y, kept.y_train[rows])


@pytest.mark.parametrize("workers", [0, 1])
def test_photos_are_the_same_whoever_reads_them(task, streamed, workers):
    batches = batches_of(task, streamed, form="photo")
    expected = [batches(step) for step in range(2, 6)]
    assert len({x.tobytes() for x, _ in expected}) == 4
    found = list(stream.stream(batches, 2, 6, threads=2, workers=workers))
    chex.assert_trees_all_equal(found, expected)


def test_a_view_of_a_photo_is_drawn_anew_in_every_epoch(task, streamed):
    task = Task(task.model, Recipe(epochs=2, batch=TRAIN), TRAIN)
    first, second = (batches_of(task, streamed, form="photo")(step) for step in (0, 1))
    by_label = [x[np.argsort(y, kind="stable")] for x, y in (first, second)]
    assert (by_label[0] != by_label[1]).mean() > 0.5


@pytest.mark.parametrize("change", ["written", "removed", "damaged before"])
def test_a_folder_that_changes_is_said_in_one_line(task, folder, tmp_path, change):
    root = shutil.copytree(folder, tmp_path / "copy")
    victim = root / "train" / "bee" / "03.png"
    if change == "damaged before":
        victim.write_bytes(b"no image")
    images = images_of(root, 0)
    if change == "written":
        victim.write_bytes(victim.read_bytes() + b"x")
        os.utime(victim, (1, 1))
    elif change == "removed":
        victim.unlink()
    feed = streaming._Feed(task, images, workers=0)
    placed = stack([make_cell(task)])
    fault = {
        "written": "it has changed since the training began",
        "removed": "No such file or directory",
        "damaged before": "it is no image, or one that is damaged at its beginning",
    }[change]
    line = f"^dataset folder:{re.escape(str(root))}: image {re.escape(str(victim))} cannot be read"
    with pytest.raises(OSError, match=f"{line}: {fault}$"):
        for _ in zip(range(task.steps_per_epoch), feed.batches(placed, 0), strict=False):
            pass


def test_waiting_is_what_the_devices_have_to_wait(task, streamed, monkeypatch):
    """A batch takes a tenth of a second to read, by one thread, and next to none to train on."""
    read = stream.TrainingBatches.__call__

    def slowly(self, step):
        time.sleep(0.1)
        return read(self, step)

    monkeypatch.setattr(stream.TrainingBatches, "__call__", slowly)
    monkeypatch.setattr(streaming, "cores", lambda: [0])
    programs = streaming.compile_streamed_programs(
        task, streamed, make_cell(task), jax.devices("cpu")[:1]
    )
    placed = programs.place([make_cell(task)])
    states = programs.start(placed)
    began = time.perf_counter()
    jax.block_until_ready(programs.train(5, placed, states))
    seconds = time.perf_counter() - began
    assert 0.4 < programs.waited_seconds() <= seconds
