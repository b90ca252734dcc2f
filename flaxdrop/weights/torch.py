"""The tensors of a file that `torch.save` wrote."""

import pathlib
import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from flaxdrop.memory import check_fits
from flaxdrop.weights.optional import optional


def read_torch(path: str | pathlib.Path) -> dict[str, np.ndarray]:
    """Reads a state dict: all its tensors by name, in its order.

    torch reads it, with `weights_only=True`: nothing that is pickled in it is run.

    Args:
      path: what `torch.save` wrote: a state dict, or a checkpoint with one somewhere inside.

    Returns:
      Tensors by name; of floating point f32, whatever they were.

    Raises:
      ValueError: the file cannot be read, is damaged, holds no state dict, or several; torch is
        not installed.
    """
    path = pathlib.Path(path)
    try:
        file = path.open("rb")
    except OSError as error:
        raise ValueError(f"weights {path}: {error.strerror or error}") from error
    with file:
        torch = optional("torch", f"{path}: {path.suffix}", extra="torch")
        try:
            content = torch.load(file, map_location="cpu", weights_only=True)
            found = dict(_state_dicts(content, torch.is_tensor))
            if len(found) != 1:
                raise ValueError(f"it must hold one, got {' and '.join(found) or 'none'}")
            [tensors] = found.values()
            for name, tensor in tensors.items():
                # A view may repeat what the file holds once, without end.
                if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
                    raise ValueError(f"{name} is larger than what the file holds of it")
            check_fits("the file", sum(4 * t.numel() for t in tensors.values()), "the weights")
            return {name: _array(tensor) for name, tensor in tensors.items()}
        except Exception as error:  # what torch raises for damaged bytes is open-ended
            reason = _reason(error)
            raise ValueError(f"weights {path}: not a readable state dict ({reason})") from error


def _state_dicts(content: Any, is_tensor: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """Where in a checkpoint the dicts of tensors are, as "model" or "model.state_dict"."""
    if not isinstance(content, Mapping) or not all(isinstance(name, str) for name in content):
        return
    if content and all(is_tensor(part) for part in content.values()):
        yield place, content
        return
    for name, part in content.items():
        yield from _state_dicts(part, is_tensor, f"{place}.{name}" if place else name)


def _array(tensor: Any) -> np.ndarray:
    tensor = tensor.detach()
    return (tensor.float() if tensor.is_floating_point() else tensor).numpy()


def _reason(error: Exception) -> str:
    # torch's own words go on for pages, and end in how to run what was refused.
    sentences = re.split(r"\.\s|\n", str(error) or type(error).__name__)
    refused = [sentence.strip() for sentence in sentences if "GLOBAL" in sentence]
    return (refused or sentences)[0]
