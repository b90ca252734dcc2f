"""A study on photos, from files to a table; and what is refused before it trains."""

import json

import numpy as np
import pytest
from PIL import Image

PHOTOS = [
    "--config.augmentation=photo",
    "--config.image_size=8",
    "--config.train_examples=0",
    "--config.test_examples=0",
    "--config.batch=10",
    "--config.seeds=1",
]
SCALE = ["--config.mean=(0.5,0.5,0.5)", "--config.std=(0.2,0.2,0.2)"]


@pytest.fixture
def photos(folder):
    """20 images of each of two classes, in no splits."""
    random = np.random.RandomState(0)
    for label in ("ant", "bee"):
        (folder / "photos" / label).mkdir(parents=True)
        for i in range(20):
            pixels = random.randint(0, 256, (12, 16, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(folder / "photos" / label / f"{i}.png")
    return folder / "photos"


def test_a_study_on_photos(command, folder, photos):
    dataset = f"--config.dataset=split:{photos}"
    outcome = command("--workdir", "results", dataset, *PHOTOS, *SCALE)
    assert outcome.status == 0, outcome.err
    assert "28 examples to train, 6 to test, 2 classes, 8x8x3, read while training" in outcome.out
    assert "repair    not measured: the images are read while training" in outcome.out
    rows = [json.loads(line) for line in (folder / "results/ledger.jsonl").read_text().splitlines()]
    assert [row["variant"] for row in rows] == ["none", "p6"]
    for row in rows:
        assert 0 <= row["measured"]["waited_share"] <= 1
        assert row["config"]["augmentation"] == "photo"
    assert "| p6 |" in (folder / "results/table.md").read_text()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ([], "mean: must be given, with std, where images are read while training, got none"),
        ([*SCALE, "--config.crop=2"], "crop: must be 0 with photos, which are cropped, got 2"),
        ([*SCALE, "--config.image_size=0"], "image_size: must be given for photos, got 0"),
        ([*SCALE, "--config.dataset=digits"], "augmentation: photo needs image files, as of calt"),
        ([*SCALE, "--config.workers=-1"], "workers: must be at least 0, got -1"),
    ],
)
def test_what_photos_need_is_said_in_one_line(command, photos, more, message):
    outcome = command(f"--config.dataset=split:{photos}", *PHOTOS, *more)
    assert outcome.status == 2
    assert outcome.err.startswith(f"error: {message}")
    assert outcome.err.count("\n") == 1


def test_a_file_that_goes_away_ends_the_run_in_one_line(command, photos, monkeypatch):
    from flaxdrop.data.file_images import FileImages

    read = FileImages.read

    def vanish(self, place, random=None):
        (photos / "bee" / "7.png").unlink(missing_ok=True)
        return read(self, place, random)

    monkeypatch.setattr(FileImages, "read", vanish)
    outcome = command("--workdir", "results", f"--config.dataset=split:{photos}", *PHOTOS, *SCALE)
    assert outcome.status == 2
    line = next(line for line in outcome.err.splitlines() if line.startswith("error: "))
    assert "image " in line
    assert "7.png cannot be read: No such file or directory; the finished cells are in" in line
    assert "Traceback" not in outcome.err
