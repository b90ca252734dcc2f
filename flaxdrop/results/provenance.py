"""Where a result comes from: versions, source revision, hash of a config, digest of arrays."""

import hashlib
import importlib.metadata
import json
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "flaxdrop")


def versions() -> dict[str, str]:
    """Python's version and those of the packages that a result depends on.

    A package that runs without being installed (from a bare checkout) is `unknown`.

    >>> list(versions())
    ['python', 'jax', 'jaxlib', 'flax', 'optax', 'orbax-checkpoint', 'numpy', 'flaxdrop']
    """
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "unknown"
    return found


def git_revision(directory: str | os.PathLike[str], besides: Sequence[str] = ()) -> str:
    """The commit of the sources in `directory`, 40 hex digits, with `-dirty` when changed.

    Untracked files that git does not ignore are a change; what is at `besides`, paths from the top
    of the repository, is none. `unknown` without git, outside a
    repository, before its first commit, and where the repository tracks nothing in `directory`
    (a virtual environment inside somebody's repository).
    """
    commit = _git(directory, "rev-parse", "--verify", "HEAD")
    sources = (":(top)", *(f":(top,exclude){path}" for path in besides))
    changes = _git(directory, "status", "--porcelain", "--", *sources)
    if not commit or changes is None or not _git(directory, "ls-files", "--", "."):
        return "unknown"
    return commit + ("-dirty" if changes else "")


def config_hash(config: Mapping[str, Any]) -> str:
    """SHA-256 of the config's canonical JSON, its first 12 hex digits.

    Independent of the order of keys and of tuple or list; 1 and 1.0 differ.

    Raises:
      ValueError: a value that is not plain JSON.

    >>> config_hash({"depth": 20, "rates": (0.1, 0.2)})
    '9d037dff885b'
    """
    try:
        text = json.dumps(config, sort_keys=True, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValueError(f"config: {error}, must be plain JSON") from None
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def digest(tree: Any) -> str:
    """SHA-256 over a pytree of arrays, 64 hex digits.

    Each leaf's path, dtype, shape and bytes, sorted by path: the same for NumPy and JAX arrays,
    on any device, and different for any bit that differs.

    >>> digest({"w": np.zeros(2, np.float32)}) == digest({"w": np.zeros((2, 1), np.float32)})
    False
    """
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    total = hashlib.sha256()
    arrays = {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in leaves}
    for path, array in sorted(arrays.items(), key=lambda item: item[0]):
        total.update(f"{path} {array.dtype.name} {array.shape}\n".encode())
        total.update(array.tobytes())
    return total.hexdigest()


def _git(directory: str | os.PathLike[str], *arguments: str) -> str | None:
    # Inside a git hook these variables point to the hook's repository.
    environment = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
    try:
        done = subprocess.run(
            ["git", "-C", os.fspath(directory), *arguments],
            capture_output=True,
            check=True,
            env=environment,
            text=True,
            timeout=30,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
