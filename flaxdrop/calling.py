"""How a network is called: the keyword that tells it to train, and what is said of wrong ones."""

import contextlib
import inspect
from collections.abc import Iterator
from typing import Any

# What says that a call is of training, and what says that it is not.
_TRAINING = ("train", "training", "is_training", "is_train")
_INFERENCE = ("deterministic", "use_running_average", "eval_mode")


def mode_options(model: Any, train: bool) -> dict[str, bool]:
    """Finds the keyword by which a network is called in training, or at inference.

    Args:
      model: a Linen module.
      train: whether the call is one of training.

    Returns:
      The keyword and its value, as `{"train": True}` or `{"deterministic": False}`; empty where the
      call has none of the known names.

    >>> import flax.linen as nn
    >>> mode_options(nn.BatchNorm(), train=True)
    {'use_running_average': False}
    """
    parameters = inspect.signature(type(model).__call__).parameters
    options = {name: train for name in _TRAINING if name in parameters}
    return options | {name: not train for name in _INFERENCE if name in parameters}


@contextlib.contextmanager
def naming_call(field: str, example: str) -> Iterator[None]:
    """Turns what Python says of the arguments of a network's call into an error of ours.

    Args:
      field: the argument of ours that has them.
      example: how they may look.

    Raises:
      ValueError: the network is not called like that.
    """
    try:
        yield
    except TypeError as error:
        if "argument" not in str(error) or "__call__" not in str(error):
            raise
        raise ValueError(
            f"{field}: {error}; say how the network is called, for example {example}"
        ) from None
