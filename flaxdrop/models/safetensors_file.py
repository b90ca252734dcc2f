"""The tensors in a .safetensors file."""

import pathlib

import numpy as np


def read_safetensors(path: str | pathlib.Path) -> dict[str, np.ndarray]:
    """Reads all tensors of the file, by name.

    Args:
      path: the .safetensors file.

    Raises:
      ValueError: the file cannot be read or is damaged; safetensors is not installed.
    """
    path = pathlib.Path(path)
    try:
        from safetensors.numpy import load  # optional
    except ImportError:
        raise ValueError(
            f"weights {path}: reading .safetensors needs safetensors; pip install"
            ' "flaxdrop[pretrained]"'
        ) from None
    try:
        return load(path.read_bytes())
    except OSError as error:
        raise ValueError(f"weights {path}: {error.strerror or error}") from error
    except Exception as error:  # the package has a type of its own for damaged files
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise ValueError(f"weights {path}: not a readable .safetensors file ({reason})") from error
