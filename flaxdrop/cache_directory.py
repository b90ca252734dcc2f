"""Where flaxdrop keeps what is costly to make again."""

import os
import pathlib


def cache_directory() -> pathlib.Path:
    """`$FLAXDROP_CACHE`, or `~/.cache/flaxdrop`: decoded data, weights, compiled programs."""
    return pathlib.Path(os.environ.get("FLAXDROP_CACHE") or "~/.cache/flaxdrop").expanduser()
