"""What is no Linen network is refused in a line that says where it goes."""

import sys
from typing import Any


def check_linen(model: Any) -> None:
    """Refuses what is not called by `apply`.

    Raises:
      ValueError: it is a module of NNX, a class, or no network at all.
    """
    # There is no module of NNX where NNX was not imported, which takes a third of a second.
    nnx = sys.modules.get("flax.nnx")
    if nnx is not None and isinstance(model, nnx.Module):
        raise ValueError(
            f"model: must be a flax.linen.Module, got the NNX module {type(model).__name__}; use"
            " flaxdrop.nnx"
        )
    if isinstance(model, type):
        raise ValueError(f"model: must be a flax.linen.Module, got the class {model.__name__}")
    if not callable(getattr(model, "apply", None)):
        raise ValueError(f"model: must be a flax.linen.Module, got {type(model).__name__}")
