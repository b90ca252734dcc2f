"""The command line of a benchmark that has no config: options, mistakes in one line."""

import argparse
import sys
from collections.abc import Callable
from typing import Any, NoReturn

_USER_ERROR = 2


class Parser(argparse.ArgumentParser):
    """An `argparse.ArgumentParser` that says a mistake in one line on stderr, exit status 2."""

    def error(self, message: str) -> NoReturn:
        """Says it."""
        self.exit(_USER_ERROR, f"error: {message}; see --help\n")


def exit_status(run: Callable[[], Any]) -> int:
    """Calls `run`; 0, or 2 after a ValueError or OSError, said in one line on stderr."""
    try:
        run()
    except (ValueError, OSError) as error:
        print("error: " + " ".join(str(error).split()), file=sys.stderr)
        return _USER_ERROR
    return 0
