import pytest

from flaxdrop.results.comparison import compare
from flaxdrop.results.regime import regime


def test_it_names_images_pixels_epochs_steps_and_the_training_accuracy(make_row):
    config = {"dataset": "cifar100", "epochs": 40, "batch": 128, "image_size": 0}
    rows = [
        make_row("none", seed, config=config, train_examples=10_000, test_examples=10_000)
        for seed in range(3)
    ]
    line = regime(compare(rows, baseline="none"))
    for words in ("10,000 training images of 32 pixels", "10,000 test images", "40 epochs"):
        assert words in line
    assert "(3,120 steps)" in line
    assert "training accuracy of none 95.0 %" in line
    assert "n = 3 seeds" in line


@pytest.mark.parametrize("dataset", ["folder:/data/pets", "folder:/data/pets/", "npz:pets", "pets"])
def test_it_names_a_file_or_folder_without_its_path(make_row, dataset):
    config = {"dataset": dataset, "epochs": 1, "batch": 1}
    row = make_row("none", config=config, train_examples=10)
    assert regime(compare([row], baseline="none")).startswith("pets: 10 training images")


def test_one_seed_is_no_plural(make_row):
    assert regime(compare([make_row("none")], baseline="none")).endswith("n = 1 seed")


def test_without_a_finished_cell_it_is_empty(make_row):
    rows = [make_row("none", status="diverged", last_accuracy=None)]
    assert regime(compare(rows, baseline="none")) == ""
