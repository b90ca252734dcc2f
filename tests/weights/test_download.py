import gc
import hashlib
import http.server
import re
import sys
import threading

import pytest

from flaxdrop.weights import download
from flaxdrop.weights.download import download_pretrained

CONTENT = b"weights"
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("FLAXDROP_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def server():
    """(URL of a folder, paths that were asked for); every path gives CONTENT."""
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_response(404 if "none" in self.path else 200)
            self.send_header("Content-Length", str(len(CONTENT)))
            self.end_headers()
            self.wfile.write(CONTENT)

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        threading.Thread(target=running.serve_forever, args=(0.01,)).start()
        yield f"http://127.0.0.1:{running.server_port}", asked
        running.shutdown()


def refused(source, match, **options):
    with pytest.raises(ValueError, match=match) as caught:
        download_pretrained(source, **options)
    assert "\n" not in str(caught.value)


def test_downloads_once(cache, server):
    url, asked = server
    path = download_pretrained(f"{url}/model.safetensors?download=true", known_hash=SHA256)
    assert path.read_bytes() == CONTENT
    assert path.suffix == ".safetensors"
    assert path.is_relative_to(cache)
    again = download_pretrained(f"{url}/model.safetensors?download=true", known_hash=SHA256)
    assert again == path
    assert len(asked) == 1


def test_a_damaged_copy_is_downloaded_again(server):
    url, asked = server
    path = download_pretrained(f"{url}/model.pth", known_hash=SHA256)
    path.write_bytes(b"wei")
    assert download_pretrained(f"{url}/model.pth", known_hash=SHA256).read_bytes() == CONTENT
    assert len(asked) == 2


def test_another_hash(cache, server):
    url, _ = server
    refused(f"{url}/model.pth", "hash", known_hash="0" * 64)
    assert not [path for path in cache.rglob("*") if path.is_file()]


def test_published_names(server, monkeypatch):
    url, asked = server
    digest = hashlib.md5(CONTENT).hexdigest()
    files = {name: (f"{url}/{name}.h5", f"md5:{digest}") for name in download.PUBLISHED}
    monkeypatch.setattr(download, "PUBLISHED", files)
    assert download_pretrained("keras-densenet121-notop").suffix == ".h5"
    assert asked == ["/keras-densenet121-notop.h5"]


def test_published_files_are_distinct():
    urls, hashes = zip(*download.PUBLISHED.values(), strict=True)
    assert len(set(urls)) == len(set(hashes)) == 6
    assert all(re.fullmatch("md5:[0-9a-f]{32}", known) for known in hashes)
    for name, (url, _) in download.PUBLISHED.items():
        _, depth, *top = name.split("-")
        assert f"/{depth}_" in url
        assert url.endswith("_notop.h5") == (top == ["notop"])


# pooch leaves the answer open.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_nothing_there(server):
    url, _ = server
    refused(f"{url}/none.pth", "404 .*; bring the file by hand", known_hash=SHA256)
    gc.collect()


def test_no_server():
    refused("http://127.0.0.1:9/m.pth", "bring the file by hand", known_hash=SHA256)


def test_what_is_asked_for_must_be_known():
    refused("densenet", "unknown, choose one of keras-densenet121, ")
    refused("http://127.0.0.1:9/m.pth", "a URL needs the SHA-256")


def test_without_pooch(monkeypatch):
    monkeypatch.setitem(sys.modules, "pooch", None)
    refused("keras-densenet121", re.escape('pip install "flaxdrop[pretrained]"'))
