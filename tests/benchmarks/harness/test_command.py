import pathlib
import subprocess

import numpy as np
import pytest
from PIL import Image

CONFIGS = pathlib.Path(__file__).parents[3] / "configs"


def everything_in(folder):
    return sorted(path.relative_to(folder) for path in folder.rglob("*"))


@pytest.fixture
def refused(command, folder):
    """Runs a command that must fail; returns what it says is wrong."""

    def run(*arguments, workdir="results", **options):
        before = everything_in(folder)
        if workdir:
            arguments = (*arguments, "--workdir", workdir)
        outcome = command(*arguments, **options)
        assert outcome.status == 2
        assert outcome.out == ""
        assert outcome.err.startswith("error: ")
        assert outcome.err.count("\n") == 1
        assert outcome.err.endswith("\n")
        assert "Traceback" not in outcome.err
        assert everything_in(folder) == before
        return outcome.err.removeprefix("error: ")

    return run


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        # Fields: unknown, of the wrong type.
        (["--config.dept=20"], "dept: unknown field, choose one of epochs, "),
        (["--config.dept", "20"], "dept: unknown field, choose one of epochs, "),
        (["--config.depth=deep"], "depth"),
        (["--config.depth=8.5"], "depth"),
        (["--config.rate=much"], "rate"),
        (["--config.flip=perhaps"], "flip"),
        (["--config.widths=(4,a)"], "widths"),
        (["--config.widths=(4.5,8)"], "widths: must be of type tuple[int, ...], got (4.5, 8)"),
        (["--config.decay_at=('a',)"], "decay_at: must be of type tuple[float, ...], got ('a',)"),
        # Names.
        (["--config.variants=none,p9"], "variants: unknown 'p9', choose among none, p0, p1"),
        (["--config.variants=,"], "variants: unknown '', choose among none, p0, p1"),
        (["--config.dataset=imagenet"], "dataset: must be digits, cifar10, cifar100"),
        (["--config.mask=pixel"], "mask: unknown 'pixel', choose one of element, channel"),
        (["--config.mask=block0"], "mask: unknown 'block0'"),
        (["--config.block=wide"], "block: unknown 'wide', choose basic or bottleneck"),
        (["--config.optimizer=lamb"], "optimizer: must be one of sgd, "),
        (["--config.schedule=linear"], "schedule: must be one of constant, step, cosine"),
        (["--config.precision=f8"], "precision: must be one of float32, tensorfloat32, bfloat16"),
        # Numbers out of their range.
        (["--config.rate=1.5"], "rate: must be in [0, 1], got 1.5"),
        (["--config.rate=-0.1"], "rate: must be in [0, 1], got -0.1"),
        (["--config.rate=nan"], "rate: must be in [0, 1], got nan"),
        (["--config.depth=8", "--config.widths=(4,8,8)", "--config.depth=9"], "depth: must be 6n"),
        (["--config.widths=(4,8,8)", "--config.depth=2"], "depth: must be 6n + 2 with basic"),
        (
            ["--config.widths=(4,8,8)", "--config.block=bottleneck", "--config.depth=20.0"],
            "depth",
        ),
        (
            ["--config.widths=(4,8,8)", "--config.block=bottleneck", "--config.depth=21"],
            "depth: must be 9n + 2 with bottleneck blocks (11, 20, 29, ...), got 21",
        ),
        (["--config.widths=(4,0)"], "widths: must be one number or more above 0, got (4, 0)"),
        (["--config.widths=()"], "widths: must be one number or more above 0, got ()"),
        (["--config.seeds=0"], "seeds: must be at least 1, got 0"),
        (["--config.epochs=0"], "epochs: must be at least 1, got 0"),
        (["--config.learning_rate=nan"], "learning_rate: must be finite and above 0, got nan"),
        (["--config.weight_decay=inf"], "weight_decay: must be finite and at least 0, got inf"),
        (["--config.checkpoint_seconds=0"], "checkpoint_seconds: must be above 0, got 0"),
        (["--config.time_budget=soon"], "time_budget: must be like 90s, 8m or 2h, got 'soon'"),
        (["--config.train_examples=-1"], "train_examples: must be at least 0, got -1"),
        (["--config.image_size=-1"], "image_size: must be at least 0, got -1"),
        (["--config.mean=(0.5,)"], "std: must be one value for each of mean, got ()"),
        # What does not fit the data or the machine.
        (["--config.batch=61"], "batch: must be at most the 60 examples, got 61"),
        (["--config.train_examples=901"], "train_examples"),
        (["--config.test_examples=898"], "test_examples"),
        (
            ["--config.mean=(0.5,0.5,0.5)", "--config.std=(0.2,0.2,0.2)"],
            "mean: must have one value for each of 1 channels, got (0.5, 0.5, 0.5)",
        ),
        (["--config.devices=-1"], "devices: must be at least 0, got -1"),
        (
            ["--config.devices_per_cell=3"],
            "devices_per_cell: must be a divisor of the batch, 20, got 3",
        ),
        (
            ["--config.devices_per_cell=4"],
            "devices_per_cell: must be a divisor of the number of devices, 2, got 4",
        ),
        (["--config.devices=1000"], "devices: must be at most 2 (cpu), or 0 for all, got 1000"),
        # The command line itself.
        (["--confg.depth=20"], "confg.depth"),
        (["--config.depth"], "depth"),
        (["--dry_run=maybe"], "dry_run"),
        (["extra"], "unexpected argument 'extra'; see --help"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistake_is_told_in_one_line_and_nothing_is_written(refused, arguments, message):
    assert message in refused(*arguments)


def test_without_workdir_no_runs_folder_is_made(refused):
    assert "rate: must be in [0, 1], got 2.0" in refused("--config.rate=2", workdir=None)


def test_config_is_missing(command):
    outcome = command(config="")
    assert (outcome.status, outcome.out) == (2, "")
    assert outcome.err == "error: config: there is no file '', see configs/\n"


@pytest.mark.parametrize("config", ["nowhere.py", "nowhere.py:form", ".", "tiny"])
def test_config_that_is_no_file(refused, config):
    path = config.partition(":")[0]
    assert refused(config=config) == f"config: there is no file '{path}', see configs/\n"


def test_unknown_form_of_a_config(refused):
    message = refused(config=f"{CONFIGS / 'cifar10.py'}:huge")
    assert message == "config: unknown form 'huge', choose full, quick, small or tiny\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "get_config"),
        ("def get_config(:", "config: SyntaxError: invalid syntax (wrong.py, line 1)"),
        ("import nothing_of_this_name", "nothing_of_this_name"),
        ("def get_config():\n    raise RuntimeError('one\\ntwo')", "config: RuntimeError: one two"),
        ("def get_config():\n    return 1 / 0", "config: ZeroDivisionError: division by zero"),
        ("def get_config():\n    return {'depth': 8}", "missing"),
        ("def get_config():\n    return 5", "config: get_config must return a ConfigDict, got int"),
        (
            "from benchmarks.preresnet import PreResNetSettings\n"
            "def get_config():\n"
            "    config = PreResNetSettings.config()\n"
            "    config.dept = 8\n"
            "    return config",
            "dept",
        ),
        (
            "from benchmarks.preresnet import PreResNetSettings\n"
            "def get_config():\n"
            "    return PreResNetSettings.config()",
            "epochs: missing in the config",
        ),
    ],
)
def test_a_config_file_with_a_mistake(refused, folder, text, message):
    (folder / "wrong.py").write_text(text)
    assert message in refused(config="wrong.py")


@pytest.fixture
def arrays():
    random = np.random.RandomState(0)
    return {
        "x_train": random.randint(0, 256, (60, 8, 8, 1)).astype(np.uint8),
        "y_train": np.arange(60) % 3,
        "x_test": random.randint(0, 256, (50, 8, 8, 1)).astype(np.uint8),
        "y_test": np.arange(50) % 3,
    }


def test_empty_npz(refused, folder):
    (folder / "data.npz").touch()
    assert refused("--config.dataset=npz:data.npz") == "dataset npz:data.npz: the file is empty\n"


def test_corrupt_npz(refused, folder, arrays):
    np.savez(folder / "data.npz", **arrays)
    (folder / "data.npz").write_bytes((folder / "data.npz").read_bytes()[:3000])
    message = refused("--config.dataset=npz:data.npz")
    assert message.startswith("dataset npz:data.npz: the file is damaged or cut off (")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x_train": lambda x: x / 255}, "x_train: must be uint8, pixels 0..255, got float64"),
        ({"x_test": lambda x: x[:, :6]}, "x_test: must have images of the shape of x_train"),
        ({"x_train": lambda x: x[:, 0, 0]}, "x_train: must be [N, H, W, C], got [60, 1]"),
        ({"y_train": lambda y: y[:5]}, "y_train: must be [60], a label an image, got [5]"),
        ({"y_test": lambda y: y - 1}, "y_test: must be labels that count from 0, got -1 to 1"),
        ({"y_train": lambda y: y + 1000}, "y_train: must count from 0 without gaps"),
    ],
)
def test_npz_that_does_not_fit(refused, folder, arrays, change, message):
    changed = {key: change.get(key, lambda a: a)(array) for key, array in arrays.items()}
    np.savez(folder / "data.npz", **changed)
    assert f"dataset npz:data.npz: {message}" in refused("--config.dataset=npz:data.npz")


@pytest.fixture
def images(folder):
    """A folder of images: two classes, 40 to train and 10 to test of each."""
    image = Image.fromarray(np.zeros((8, 8, 3), np.uint8))
    for split, count in (("train", 40), ("test", 30)):
        for label in ("cat", "dog"):
            of_class = folder / "pets" / split / label
            of_class.mkdir(parents=True)
            for number in range(count):
                image.save(of_class / f"{number}.png")
    return folder / "pets"


@pytest.fixture
def refused_folder(refused, images):
    return lambda: refused(f"--config.dataset=folder:{images.name}", "--config.image_size=8")


def test_no_folder(refused):
    message = refused("--config.dataset=folder:nowhere")
    assert message == "dataset folder:nowhere: no such folder\n"


def test_folder_with_no_images(refused_folder, images):
    for path in images.rglob("*.png"):
        path.unlink()
    assert refused_folder() == "dataset folder:pets: no images in train/CLASS/\n"


def test_unreadable_image_is_named(refused_folder, images):
    (images / "train" / "dog" / "3.png").write_bytes(b"\x89PNG and no more")
    assert "image pets/train/dog/3.png cannot be read" in refused_folder()


def test_class_missing_in_test(refused_folder, images):
    for path in (images / "test" / "dog").iterdir():
        path.unlink()
    assert refused_folder() == "dataset folder:pets: no images in test/ of class dog\n"


def test_work_folder_that_cannot_be_written(refused):
    assert (
        refused(workdir="tiny.py/results")
        == "workdir: cannot write tiny.py/results: Not a directory\n"
    )
    assert refused(workdir="tiny.py") == "workdir: cannot write tiny.py: File exists\n"


def test_work_folder_of_something_else(refused, folder):
    (folder / "results").mkdir()
    (folder / "results" / "thesis.tex").touch()
    assert refused() == "workdir: results is not empty and not of a run, choose another\n"


def test_help(command):
    outcome = command("--help")
    assert (outcome.status, outcome.err) == (0, "")
    for field in ("--workdir", "--dry_run", "depth:", "seeds:", "learning_rate:", "time_budget:"):
        assert field in outcome.out


def test_in_a_process_of_its_own(shell, folder):
    before = everything_in(folder)
    arguments = shell("--workdir", "tiny.py/results")
    message = "error: workdir: cannot write tiny.py/results: Not a directory\n"
    done = subprocess.run(**arguments, capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", message)
    assert everything_in(folder) == before
