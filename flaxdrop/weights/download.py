"""Downloads of pretrained weights, with their checksums."""

import pathlib

from flaxdrop.cache_directory import cache_directory
from flaxdrop.weights.optional import optional

_KERAS = "https://storage.googleapis.com/tensorflow/keras-applications/densenet/"
_KERAS_FILE = _KERAS + "densenet{}_weights_tf_dim_ordering_tf_kernels{}.h5"

_MD5 = {
    (121, ""): "9d60b8095a5708f2dcce2bca79d332c7",
    (169, ""): "d699b8f76981ab1b30698df4c175e90b",
    (201, ""): "1ceb130c1ea1b78c3bf6114dbdfd8807",
    (121, "notop"): "30ee3e1110167f948a6b9946edeeb738",
    (169, "notop"): "b8c4d4c20dd625c148057b9ff1c1176b",
    (201, "notop"): "c13680b51ded0fb44dff2d8f86ac8bb1",
}

# Name -> (URL, hash): the files of keras.applications, with the checksums in its source.
PUBLISHED = {
    f"keras-densenet{depth}{top and '-' + top}": (
        _KERAS_FILE.format(depth, top and f"_{top}"),
        f"md5:{md5}",
    )
    for (depth, top), md5 in _MD5.items()
}

TIMEOUT = 10.0  # seconds without an answer


def download_pretrained(source: str, known_hash: str | None = None) -> pathlib.Path:
    """Downloads a file of pretrained weights, once; the copy that is kept is checked every time.

    Args:
      source: "keras-densenet121", "keras-densenet121-notop", or the same of 169 and 201; or a URL.
      known_hash: of what a URL gives: SHA-256 in hexadecimal, or another as "md5:...".

    Returns:
      Where the file is, for `load_pretrained`; in the cache of flaxdrop.

    Raises:
      ValueError: the file cannot be downloaded or its hash is another one; a URL without a hash, a
        name that is not among these, or pooch is not installed.
    """
    if source in PUBLISHED:
        url, known_hash = PUBLISHED[source]
    elif "://" not in source:
        raise ValueError(f"weights {source}: unknown, choose one of {', '.join(PUBLISHED)}, a URL")
    elif not known_hash:
        raise ValueError(f"weights {source}: a URL needs the SHA-256 of what it gives")
    else:
        url = source
    pooch = optional("pooch", f"{url}: a download")
    folder = cache_directory() / "weights"
    downloader = pooch.HTTPDownloader(progressbar=True, timeout=TIMEOUT)
    try:
        return pathlib.Path(
            pooch.retrieve(url, known_hash=known_hash, path=folder, downloader=downloader)
        )
    except (OSError, ValueError) as error:  # those of requests are OSErrors
        raise ValueError(
            f"weights {url}: no download to {folder} ({str(error).splitlines()[0]}); bring the"
            " file by hand and name its path"
        ) from error
