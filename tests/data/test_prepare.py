import contextlib
import functools
import hashlib
import http.server
import io
import json
import pathlib
import socket
import sys
import tarfile
import threading
import time

import numpy as np
import pytest
from PIL import Image

from flaxdrop.data import load, prepare

FILES = {
    "cifar10": (
        "cifar-10-batches-bin",
        [f"data_batch_{i}.bin" for i in range(1, 6)],
        "test_batch.bin",
        ["batches.meta.txt"],
    ),
    "cifar100": (
        "cifar-100-binary",
        ["train.bin"],
        "test.bin",
        ["coarse_label_names.txt", "fine_label_names.txt"],
    ),
}
REAL = pathlib.Path(__file__).parents[3] / "shared" / "data"


def synthetic(name):
    random = np.random.RandomState(3)
    classes = {"cifar10": 10, "cifar100": 100}[name]
    images = random.randint(0, 256, (150, 32, 32, 3)).astype(np.uint8)
    return images, np.arange(150) % classes, [f"class_{i}" for i in range(classes)]


def real(name):
    """The first images of the real test split, from the mosaic of 10 x 500 that is beside us."""
    mosaic = np.asarray(Image.open(REAL / name / "test-00.webp").crop((0, 0, 320, 1600)))
    images = mosaic.reshape(50, 32, 10, 32, 3).transpose(0, 2, 1, 3, 4).reshape(-1, 32, 32, 3)
    labels = np.load(REAL / name / "labels.npz")["test"][: len(images)]
    return images, labels, json.loads((REAL / name / "meta.json").read_text())["classes"]


SOURCES = [(synthetic, name) for name in FILES]
SOURCES += [(real, name) for name in FILES if (REAL / name).is_dir()]


class Official:
    """An archive in the layout of the official ones: 100 training images, the rest for the test."""

    def __init__(self, name, images, labels, classes, folder):
        self.name, self.classes = name, classes
        self.x_train, self.y_train = images[:100], labels[:100]
        self.x_test, self.y_test = images[100:], labels[100:]
        prefix, train, test, names = FILES[name]
        # Before the label of CIFAR-100 is that of its superclass.
        coarse = labels[:, None] % 20 if name == "cifar100" else np.empty((len(labels), 0))
        planes = images.transpose(0, 3, 1, 2).reshape(len(images), -1)
        records = np.concatenate([coarse, labels[:, None], planes], axis=1).astype(np.uint8)
        texts = ["\n".join(f"super_{i}" for i in range(20)), "\n".join(classes) + "\n\n"]
        members = dict(zip(names, [text.encode() for text in texts[-len(names) :]], strict=True))
        members[test] = records[100:].tobytes()
        for file, part in zip(train, np.split(records[:100], len(train)), strict=True):
            members[file] = part.tobytes()
        self.path = folder / f"{prefix}.tar.gz"
        with tarfile.open(self.path, "w:gz") as archive:
            for file, content in members.items():
                member = tarfile.TarInfo(f"{prefix}/{file}")
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))

    def assert_equals(self, data):
        assert data.name == self.name
        assert data.classes == tuple(self.classes)
        for split in ("train", "test"):
            ours, theirs = (
                sorted((x.tobytes(), int(y)) for x, y in zip(*arrays, strict=True))
                for arrays in (
                    (getattr(self, f"x_{split}"), getattr(self, f"y_{split}")),
                    (getattr(data, f"x_{split}"), getattr(data, f"y_{split}")),
                )
            )
            assert ours == theirs


@contextlib.contextmanager
def serve(folder, status=None, length=None):
    """A local server of the folder; yields its address and the list of what was asked for.

    With a status it refuses with that; with a length it promises so many bytes.
    """
    asked = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            asked.append(self.path)

        def do_GET(self):
            return self.send_error(status) if status else super().do_GET()

        def send_header(self, keyword, value):
            promised = length if length and keyword == "Content-Length" else value
            super().send_header(keyword, promised)

    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Handler, directory=folder)
    )
    server.handle_error = lambda *_: None  # whoever asks whether it is there hangs up early
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def downloads_from(monkeypatch):
    """Has tensorflow-datasets take an archive from another address, with its checksum."""
    import tensorflow_datasets as tfds

    def redirect(address, official, checksum=None):
        url = f"{address}/{official.path.name}"
        content = official.path.read_bytes()
        checksums = tfds.core.download.checksums
        known = checksums.UrlInfo(
            size=len(content),
            checksum=checksum or hashlib.sha256(content).hexdigest(),
            filename=official.path.name,
        )
        builder = tfds.builder_cls(official.name)
        original = builder._cifar_info.fget
        changed = property(lambda self: original(self)._replace(url=url))
        monkeypatch.setattr(builder, "_cifar_info", changed)
        monkeypatch.setattr(checksums, "get_all_url_infos", lambda: {url: known})

    return redirect


@pytest.fixture
def official(tmp_path):
    folder = tmp_path / "served"
    folder.mkdir()
    return Official("cifar10", *synthetic("cifar10"), folder)


def error_of(name, root):
    with pytest.raises(ValueError, match=f"^dataset {name}: ") as caught:
        load(name, data_dir=str(root))
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize(("source", "name"), SOURCES)
def test_from_the_official_archive_to_arrays(source, name, tmp_path, downloads_from):
    import tensorflow_datasets as tfds

    official = Official(name, *source(name), tmp_path)
    with serve(tmp_path) as (address, asked):
        downloads_from(address, official)
        data = load(name, data_dir=str(tmp_path / "tfds"))
        assert len(asked) == 2  # can it be reached, and the download
    official.assert_equals(data)

    # Where tensorflow-datasets looks for it, and as it would have written it.
    sources = tfds.data_source(name, data_dir=tmp_path / "tfds", download=False)
    ids = sorted(example["id"].decode() for example in sources["test"])
    assert ids == [f"test_{i:05d}" for i in range(len(official.x_test))]
    for example in list(sources["train"])[:20]:
        index = int(example["id"].decode().removeprefix("train_"))
        np.testing.assert_array_equal(example["image"], official.x_train[index])
        assert example["label"] == official.y_train[index]
        assert name == "cifar10" or example["coarse_label"] == official.y_train[index] % 20
    info = sources["train"].dataset_info
    assert info.download_size == official.path.stat().st_size
    described = json.loads((pathlib.Path(info.data_dir) / "dataset_info.json").read_text())
    assert described["moduleName"] == "tensorflow_datasets.image_classification.cifar"


def test_an_archive_once_downloaded_is_enough(tmp_path, official, downloads_from):
    root = tmp_path / "tfds"
    with serve(official.path.parent) as (address, asked):
        downloads_from(address, official)
        load("cifar10", data_dir=str(root))
        asked.clear()
        (root / "cifar10").rename(tmp_path / "elsewhere")
        official.assert_equals(load("cifar10", data_dir=str(root)))
        assert asked == []


def test_an_archive_brought_by_hand_is_enough(tmp_path, official, downloads_from):
    root = tmp_path / "tfds"
    downloads_from(f"http://127.0.0.1:{closed_port()}", official)
    place = error_of("cifar10", root).partition("bring that file to ")[2].partition(",")[0]
    pathlib.Path(place).parent.mkdir(parents=True)
    official.path.rename(place)
    official.assert_equals(load("cifar10", data_dir=str(root)))


def test_another_archive_is_refused(tmp_path, official, downloads_from):
    with serve(official.path.parent) as (address, _):
        downloads_from(address, official, checksum="0" * 64)
        message = error_of("cifar10", tmp_path / "tfds")
    assert "wrong checksum" in message
    assert not list((tmp_path / "tfds").glob("cifar10/[0-9]*"))


def test_a_data_dir_that_cannot_be_written(tmp_path, official, downloads_from):
    (tmp_path / "file").touch()
    with serve(official.path.parent) as (address, _):
        downloads_from(address, official)
        message = error_of("cifar10", tmp_path / "file")
    assert f"cannot be prepared in {tmp_path / 'file'} (" in message


def closed_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_no_network_is_told_at_once_in_one_line(tmp_path, official, downloads_from, capfd, caplog):
    downloads_from(f"http://127.0.0.1:{closed_port()}", official)
    start = time.monotonic()
    message = error_of("cifar10", tmp_path / "tfds")
    assert time.monotonic() - start < 10
    assert "cannot be reached (ConnectionError)" in message
    assert str(tmp_path / "tfds") in message
    assert "npz:FILE" in message
    assert not (tmp_path / "tfds").exists()
    assert capfd.readouterr() == ("", "")
    assert caplog.records == []


def test_a_network_that_never_answers(tmp_path, official, downloads_from, monkeypatch):
    monkeypatch.setattr(prepare, "PROBE_SECONDS", 0.2)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        downloads_from(f"http://127.0.0.1:{silent.getsockname()[1]}", official)
        assert "cannot be reached (" in error_of("cifar10", tmp_path / "tfds")


def test_a_name_server_that_never_answers(tmp_path, official, downloads_from, monkeypatch):
    monkeypatch.setattr(prepare, "PROBE_SECONDS", 0.2)
    done = threading.Event()

    def look_up(*_):
        done.wait(20)
        raise socket.gaierror

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    downloads_from("http://archive.invalid", official)
    start = time.monotonic()
    assert "(no answer within 0.2 s)" in error_of("cifar10", tmp_path / "tfds")
    assert time.monotonic() - start < 10
    done.set()


def test_a_download_that_breaks_off(tmp_path, official, downloads_from):
    with serve(official.path.parent, length=2 * official.path.stat().st_size) as (address, _):
        downloads_from(address, official)
        message = error_of("cifar10", tmp_path / "tfds")
    assert f"cannot be prepared in {tmp_path / 'tfds'} (" in message
    assert not list((tmp_path / "tfds").glob("cifar10/[0-9]*"))


@pytest.mark.parametrize("status", [404, 503])
def test_a_server_that_refuses(tmp_path, official, downloads_from, status):
    with serve(official.path.parent, status) as (address, _):
        downloads_from(address, official)
        assert f"(HTTP status {status})" in error_of("cifar10", tmp_path / "tfds")


def test_without_tensorflow_datasets(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    message = error_of("cifar100", tmp_path)
    assert 'pip install ".[tfds]", or use npz:FILE' in message
