"""Packages that an extra of flaxdrop installs."""

import importlib
from typing import Any


def optional(package: str, needed_by: str, extra: str = "pretrained") -> Any:
    """Imports a package, or a module of one; the message says what needs it.

    Raises:
      ValueError: it is not installed.
    """
    try:
        return importlib.import_module(package)
    except ImportError:
        name = package.partition(".")[0]
        raise ValueError(
            f'weights {needed_by} needs {name}; pip install "flaxdrop[{extra}]"'
        ) from None
