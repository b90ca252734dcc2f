"""The tensors in a .safetensors file."""

import os
import pathlib
from collections.abc import Mapping
from typing import Any

import ml_dtypes
import numpy as np

from flaxdrop.weights.optional import optional

_DTYPES: dict[str, Any] = {
    "BF16": ml_dtypes.bfloat16,
    "BOOL": np.bool_,
    **{f"F{bits}": np.dtype(f"f{bits // 8}") for bits in (16, 32, 64)},
    **{f"I{bits}": np.dtype(f"i{bits // 8}") for bits in (8, 16, 32, 64)},
    **{f"U{bits}": np.dtype(f"u{bits // 8}") for bits in (8, 16, 32, 64)},
}


def read_safetensors(path: str | pathlib.Path) -> dict[str, np.ndarray]:
    """Reads all tensors of the file, by name.

    Raises:
      ValueError: the file cannot be read or is damaged, or a tensor is of a kind that is none of
        weights; safetensors is not installed.
    """
    path = pathlib.Path(path)
    package = optional("safetensors", f"{path}: .safetensors")
    try:
        tensors = package.deserialize(path.read_bytes())  # its `numpy.load` knows no bf16
        return {name: _array(name, **tensor) for name, tensor in tensors}
    except OSError as error:
        raise ValueError(f"weights {path}: {error.strerror or error}") from error
    except Exception as error:  # the package has a type of its own for damaged files
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise ValueError(f"weights {path}: not a readable .safetensors file ({reason})") from error


def write_safetensors(path: str | pathlib.Path, tensors: Mapping[str, np.ndarray]) -> None:
    """Writes tensors by name; a reader sees all of the file or nothing.

    Raises:
      ValueError: safetensors is not installed.
      OSError: it cannot be written.
    """
    path = pathlib.Path(path)
    save = optional("safetensors.numpy", f"{path}: .safetensors").save
    aside = path.with_suffix(".partial")
    # The package takes an array's memory as it lies, whatever the strides.
    aside.write_bytes(save({name: np.ascontiguousarray(array) for name, array in tensors.items()}))
    os.replace(aside, path)


def _array(name: str, dtype: str, shape: list[int], data: bytes) -> np.ndarray:
    if dtype not in _DTYPES:
        raise ValueError(f"tensor {name} is {dtype}, must be one of {', '.join(_DTYPES)}")
    return np.frombuffer(data, _DTYPES[dtype]).reshape(shape)
