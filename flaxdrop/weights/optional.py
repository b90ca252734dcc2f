"""Packages that an extra of flaxdrop installs."""

import importlib
from typing import Any


def optional(package: str, needed_by: str, extra: str = "pretrained") -> Any:
    """Imports a package, or a module of one.

    Args:
      package: its name, as it is imported.
      needed_by: what needs it, for the message.
      extra: of flaxdrop, which installs it.

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
