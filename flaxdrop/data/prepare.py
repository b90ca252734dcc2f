"""Preparing CIFAR for tensorflow-datasets without TensorFlow.

The official archive, in its binary version, comes through the download manager of
tensorflow-datasets, which checks its SHA-256; what is written is what tensorflow-datasets itself
would write as array_record.
"""

import contextlib
import io
import pathlib
import tarfile
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
from PIL import Image

# tensorflow-datasets itself goes on for 3.5 minutes before it says that there is no network.
PROBE_SECONDS = 4.0


@contextlib.contextmanager
def as_value_error(name: str, problem: str) -> Iterator[None]:
    """Turns whatever goes wrong inside tensorflow-datasets into a ValueError of one line.

    Args:
      name: of the dataset.
      problem: what cannot be done, for the message.
    """
    try:
        yield
    except ImportError as error:
        raise ValueError(
            f'dataset {name}: {_first_line(error)}; pip install ".[tfds]", or use npz:FILE'
        ) from error
    except Exception as error:  # network, disk, checksum, format: each has a type of its own
        raise ValueError(f"dataset {name}: {problem} ({_first_line(error)})") from error


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)


def prepare(name: str, root: pathlib.Path) -> None:
    """Downloads the archive of a dataset and writes what is in it below `root`, as array_record.

    Args:
      name: `cifar10` or `cifar100`.
      root: the data_dir of tensorflow-datasets.

    Raises:
      ValueError: tensorflow-datasets is not installed, the archive cannot be reached or is not
        the official one, or `root` cannot be written.
    """
    problem = f"cannot be prepared in {root}"
    with as_value_error(name, problem):
        import tensorflow_datasets  # optional, and takes long to import

        original = tensorflow_datasets.builder_cls(name)
        with tensorflow_datasets.core.registered.skip_registration():
            builder_class = _reading_archive(original)
        builder = builder_class(data_dir=root, file_format="array_record")
        url = builder._cifar_info.url
        by_hand = root / "downloads" / "manual" / url.rpartition("/")[2]
        local = by_hand.exists() or _is_downloaded(tensorflow_datasets, name, root, url)
        refusal = None if local else _probe(url)
    if refusal:
        raise ValueError(
            f"dataset {name}: not prepared in {root}, and {url} cannot be reached ({refusal}); "
            f"bring that file to {by_hand}, or name the data_dir that has it, or use npz:FILE"
        )
    with as_value_error(name, problem):
        builder.download_and_prepare(
            download_config=tensorflow_datasets.download.DownloadConfig(
                force_checksums_validation=True, try_download_gcs=False
            )
        )


def _is_downloaded(tensorflow_datasets: Any, name: str, root: pathlib.Path, url: str) -> bool:
    """Whether the download manager will find the archive where it has put it before."""
    download = tensorflow_datasets.core.download
    checksum = download.checksums.get_all_url_infos()[url].checksum
    file = download.resource.get_dl_fname(url, checksum)
    return any((root / "downloads" / folder / file).exists() for folder in ("", name))


def _probe(url: str) -> str | None:
    """Why nothing can be downloaded from there, found out within PROBE_SECONDS; None if it can."""
    import requests  # what tensorflow-datasets downloads with: same proxies, same certificates

    answer = [f"no answer within {PROBE_SECONDS:g} s"]

    def ask() -> None:
        try:
            with requests.get(url, stream=True, timeout=PROBE_SECONDS) as response:
                answer.append("" if response.ok else f"HTTP status {response.status_code}")
        except Exception as error:  # whatever it is, nothing can be downloaded
            answer.append(type(error).__name__)

    # In a thread, because the timeout of requests does not cover looking up the host.
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(PROBE_SECONDS)
    return answer[-1] or None


def _reading_archive(base: Any) -> Any:
    """The builder class `base`, but reading the archive by `tarfile` and encoding PNG by Pillow.

    The original needs TensorFlow for both. Name, version, features, keys and order are its own.
    """

    class ArchiveBuilder(base):
        __module__ = base.__module__
        name = base.name

        def _split_generators(self, dl_manager: Any) -> dict[str, Iterator[tuple[int, dict]]]:
            cifar = self._cifar_info
            with tarfile.open(dl_manager.download(cifar.url)) as archive:
                files = {
                    member.name.removeprefix(cifar.prefix): content.read()
                    for member in archive
                    if (content := archive.extractfile(member))
                }
            for key, file in zip(cifar.label_keys, cifar.label_files, strict=True):
                self.info.features[key].names = files[file].decode().split()
            return {
                "train": self._generate_examples("train_", [files[f] for f in cifar.train_files]),
                "test": self._generate_examples("test_", [files[f] for f in cifar.test_files]),
            }

        def _generate_examples(
            self, split_prefix: str, filepaths: list[bytes]
        ) -> Iterator[tuple[int, dict]]:
            keys = self._cifar_info.label_keys
            height, width, channels = self.info.features["image"].shape
            size = len(keys) + height * width * channels  # labels, then red, green, blue planes
            records = np.frombuffer(b"".join(filepaths), np.uint8).reshape(-1, size)
            for index, record in enumerate(records):
                planes = record[len(keys) :].reshape(channels, height, width)
                png = io.BytesIO()
                Image.fromarray(planes.transpose(1, 2, 0)).save(png, "PNG")
                png.seek(0)
                labels = {key: int(label) for key, label in zip(keys, record, strict=False)}
                yield index, {"id": f"{split_prefix}{index:05d}", "image": png, **labels}

    return ArchiveBuilder
