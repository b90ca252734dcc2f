"""Makes the plan of a run: loads the data and checks everything that can be wrong."""

import contextlib
import importlib.util
import pathlib
import re
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping

import jax
import numpy as np

import flaxdrop.data
from benchmarks.harness.arguments import one_line
from benchmarks.harness.plan import Plan, S, identity
from benchmarks.harness.precision import set_matmul_precision
from benchmarks.harness.published_data import PUBLISHED, stand_in
from benchmarks.harness.settings import Settings
from benchmarks.harness.study import Study
from benchmarks.harness.variants import Variant, families, parameter_count
from benchmarks.harness.workfolder import WorkFolder, default_folder
from flaxdrop.data.dataset import Dataset
from flaxdrop.data.file_images import FileImages
from flaxdrop.memory import check_fits, host_bytes
from flaxdrop.results.provenance import config_hash
from flaxdrop.training.cells import choose_devices, to_images
from flaxdrop.training.content import NUMERICS, Content
from flaxdrop.training.environment import configure_jax
from flaxdrop.training.steps import Images

_VECTORISES = (0, 8)  # the version of jax
_COPIES = 3  # of the parameters, f32, at the least: their gradients and the optimiser's beside them


def make_plan(
    study: Study[S],
    settings: S,
    workdir: str | None,
    shared_ledger: pathlib.Path | None = None,
    *,
    without_data: bool = False,
    dataset: Dataset | None = None,
    elsewhere: bool = False,
) -> Plan[S]:
    """Loads the data and checks everything that can be wrong, writing nothing.

    Args:
      study: what to run.
      settings: of the run.
      workdir: where results go; None: a folder of the config's own.
      shared_ledger: where finished cells go instead.
      without_data: where CIFAR cannot be had, plan with noise of its size; a warning says so.
      dataset: that of the settings, if it is loaded already.
      elsewhere: other machines train, whose devices count.

    Raises:
      ValueError, OSError: what the user got wrong.
    """
    for package, extra in study.needs.items():
        if importlib.util.find_spec(package) is None:
            raise ValueError(
                f"{package}: must be installed for benchmarks.{study.name};"
                f' pip install ".[{extra}]"'
            )
    configure_jax()
    set_matmul_precision(settings.precision)
    devices = choose_devices(1 if elsewhere else settings.devices)
    if len(devices) % settings.devices_per_cell and not elsewhere:
        raise ValueError(
            f"devices_per_cell: must be a divisor of the number of devices, {len(devices)},"
            f" got {settings.devices_per_cell}"
        )
    if settings.cells_per_device > 1 and jax.__version_info__ < _VECTORISES:
        raise ValueError(
            f"cells_per_device: must be 1 with jax {jax.__version__}, which cannot vectorise"
            f" convolutions on a device of several, got {settings.cells_per_device}"
        )
    dataset = dataset or load_data(settings, without_data=without_data)
    if isinstance(dataset.x_train, FileImages):
        _check_streamed(study, settings)
    settings.steps_per_epoch(settings.train_examples or len(dataset.x_train))
    pixels, subset = _draw(to_images(dataset, settings.mean, settings.std), dataset, settings)
    frozen = study.frozen(settings) if study.frozen else None
    with _blaming_settings():
        every = dict(study.variants(settings, dataset.num_classes))
        grouped = families(every, settings.dropout_schedule)
    chosen = restrict(every, settings.variants)
    content = Content(
        config_hash=config_hash(settings.identity()),
        numerics=NUMERICS,
        data=dataset.digest,
        weights=frozen.digest if frozen else "",
    )
    if workdir and "://" in workdir:
        raise ValueError(
            f"workdir: must be a folder, of a disk that all hosts see if there are several, got"
            f" {workdir}"
        )
    path = (
        pathlib.Path(workdir)
        if workdir
        else default_folder(study.name, settings.dataset, identity(settings, content))
    )
    plan = Plan(
        name=study.name,
        baseline=study.baseline,
        settings=settings,
        dataset=dataset,
        pixels=pixels,
        subset=subset,
        frozen=frozen,
        content=content,
        every_variant=every,
        families=grouped,
        variants=chosen,
        devices=devices,
        folder=WorkFolder(path, shared_ledger),
    )
    with _blaming_settings():
        for family in plan.families:
            if family.placements.keys() & set(chosen):
                # Refuses images that do not fit.
                parameters = parameter_count(family.model, plan.input_shape)
                cells = len(devices) * settings.cells_per_device
                check_fits("config", cells * _COPIES * 4 * parameters, "its networks")
    return plan


@contextlib.contextmanager
def _blaming_settings() -> Iterator[None]:
    """What a network raises as it is built is the fault of a setting: it becomes a ValueError."""
    try:
        yield
    except Exception as error:
        words = one_line(error)
        if isinstance(error, ValueError) and re.match(r"[\w ]+: ", words):
            raise  # it names its field
        frame = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{pathlib.Path(frame.filename).name}, line {frame.lineno}"
        raise ValueError(
            f"config: no network can be built with these settings:"
            f" {type(error).__name__}: {words} ({where})"
        ) from error


def _check_streamed(study: Study[S], settings: S) -> None:
    """Refuses what needs all images at once, where they are read while training."""
    if importlib.util.find_spec("grain") is None:
        raise ValueError(
            'grain: must be installed to read images while training; pip install ".[images]"'
        )
    if not settings.mean:
        raise ValueError(
            "mean: must be given, with std, where images are read while training, got none"
        )
    if study.frozen:
        raise ValueError(
            "dataset: must fit the device for features that are computed once, got"
            f" {settings.dataset} of {settings.image_size} pixels"
        )


def image_bytes(device: jax.Device) -> float:
    """How many bytes of decoded images may be on a device: a quarter of its memory.

    The rest is for what networks compute. A CPU device has the memory of the host.
    """
    stats = device.memory_stats() if device.platform != "cpu" else None
    return ((stats or {}).get("bytes_limit") or host_bytes()) / 4


def load_data(settings: Settings, *, without_data: bool) -> Dataset:
    """Loads the data of a run.

    Args:
      settings: of the run.
      without_data: as in `make_plan`.

    Raises:
      ValueError, OSError: they cannot be had.
    """
    try:
        return flaxdrop.data.load(
            settings.dataset,
            image_size=settings.image_size or None,
            data_dir=settings.data_dir or None,
            test_examples=settings.test_examples or None,
            most_bytes=image_bytes(choose_devices(settings.devices)[0]),
            form="photo" if settings.augmentation == "photo" else "square",
        )
    except ValueError as error:
        if not (without_data and settings.dataset in PUBLISHED):
            raise
        print(f"warning: planned without the images: {one_line(error)}", file=sys.stderr)
        return stand_in(settings.dataset, settings.image_size, settings.test_examples)


def _draw(
    images: Images, dataset: Dataset, settings: Settings
) -> tuple[Images, Callable[[int], np.ndarray | None]]:
    """The images that some seed is trained on, and which of them each seed is."""
    examples = settings.train_examples
    if examples in (0, len(dataset.x_train)):
        return images, lambda _: None
    is_used = np.zeros(len(dataset.x_train), bool)
    for seed in range(settings.seeds):
        is_used[dataset.drawn(examples, seed)] = True
        if is_used.all():  # of many seeds, those that follow draw nothing new
            break
    used = np.flatnonzero(is_used)
    own = images.replace(x_train=images.x_train[used], y_train=images.y_train[used])
    return own, lambda seed: np.searchsorted(used, dataset.drawn(examples, seed)).astype(np.int32)


def restrict(every: Mapping[str, Variant], asked: str) -> tuple[str, ...]:
    """The names of the variants that are asked for, in the order asked for.

    Args:
      every: all variants of a study.
      asked: names, separated by commas; empty: all.

    Raises:
      ValueError: an unknown variant; the message lists the known ones.
    """
    names = [name.strip() for name in asked.split(",")] if asked.strip() else list(every)
    for name in names:
        if name not in every:
            raise ValueError(f"variants: unknown {name!r}, choose among {', '.join(every)}")
    return tuple(dict.fromkeys(names))
