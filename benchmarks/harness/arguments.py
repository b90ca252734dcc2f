"""The command line of everything that can be run: flags, --help, errors in one line."""

import dataclasses
import functools
import inspect
import os
import pathlib
import signal
import sys
import traceback
from collections.abc import Callable, Iterable, Sequence
from types import SimpleNamespace
from typing import Any, NoReturn

from absl import flags

from flaxdrop.table import plain

HELP = {"--help", "-h", "-help", "--helpfull"}
_OUT_OF_MEMORY = ("RESOURCE_EXHAUSTED", "Out of memory", "out of memory", "Unable to allocate")
USER_ERROR = 2
INTERRUPTED = 128 + signal.SIGINT


class UsageError(Exception):
    """What the user can put right; the message is one line that says how."""


@dataclasses.dataclass(frozen=True)
class Flag:
    """An option of a command, `--name value` or `--name=value`; of a bool, `--name` alone.

    Attributes:
      name: of the flag.
      default: its value where it is not given; the flag has its type.
      help: what it is for, a phrase.
      choices: the words that it may be; empty: any.
      required: it must be given.
    """

    name: str
    default: Any
    help: str
    choices: Sequence[str] = ()
    required: bool = False

    def define(self, values: flags.FlagValues) -> None:
        """Adds the flag to those of a command."""
        if self.choices:
            choices = list(self.choices)
            flags.DEFINE_enum(self.name, self.default, choices, self.help, flag_values=values)
            return
        define: Any = {
            bool: flags.DEFINE_bool,
            int: flags.DEFINE_integer,
            float: flags.DEFINE_float,
            str: flags.DEFINE_string,
        }[type(self.default)]
        define(self.name, self.default, self.help, flag_values=values)

    def describe(self) -> str:
        """The lines on the flag in the text of --help."""
        name = f"--{self.name}" if self.default is False else f"--{self.name}={_kind(self)}"
        default = "" if self.default in (False, "") else f" (default: {self.default})"
        return f"  {name}\n      {self.help}{' (required)' if self.required else default}"


def _kind(flag: Flag) -> str:
    return "|".join(flag.choices) or ("TEXT" if isinstance(flag.default, str) else "NUMBER")


def parse_flags(
    known: Sequence[Flag], arguments: Sequence[str], words: Sequence[str] = ()
) -> SimpleNamespace:
    """Reads the flags of a command line.

    Args:
      known: the flags of the command.
      arguments: without the program's name.
      words: what the words that are no flags are called, as `FOLDER`; each must be there.

    Returns:
      The value of each flag, by its name, and the `words`, if there are to be some.

    Raises:
      flags.Error, ValueError: an unknown flag, a value of another type, one that is missing.
    """
    values = flags.FlagValues()
    for flag in known:
        flag.define(values)
    rest = parse(values, ["", *arguments], words)
    found: dict[str, Any] = {flag.name: values[flag.name].value for flag in known}
    for flag in known:
        if flag.required and found[flag.name] == "":
            raise ValueError(f"--{flag.name}: must be given; see --help")
    return SimpleNamespace(**found, **({"words": rest} if words else {}))


def parse(
    values: flags.FlagValues, arguments: Sequence[str], words: Sequence[str] = ()
) -> list[str]:
    """Parses a command line.

    Args:
      values: has the flags, and gets their values.
      arguments: as `sys.argv`, the program's name first.
      words: what the words that are no flags are called.

    Returns:
      The words that are no flags.

    Raises:
      flags.Error: an unknown flag, or a value of another type.
      ValueError: a word too many, or one that is missing.
    """
    rest: list[str] = values(arguments)[1:]
    if len(rest) > len(words):
        raise ValueError(f"unexpected argument {rest[len(words)]!r}; see --help")
    if len(rest) < len(words):
        raise ValueError(f"{words[len(rest)]}: must be given; see --help")
    return rest


Run = Callable[[SimpleNamespace], int | None]


def tool(doc: str, known: Sequence[Flag], words: Sequence[str] = ()) -> Callable[[Run], Any]:
    """Makes what runs a tool its command line.

    Args:
      doc: the docstring of its module, which --help prints.
      known: its flags.
      words: what the words that are no flags are called; they are given as `words`.

    Returns:
      A decorator of a function that takes the value of each flag by its name, and returns the exit
      status, None for 0. It makes a function of the command line, without the program's name (None:
      that of the process), which returns the exit status.
    """

    def decorate(run: Run) -> Callable[..., int]:
        @functools.wraps(run)
        def main(arguments: Sequence[str] | None = None) -> int:
            given = sys.argv[1:] if arguments is None else arguments
            if HELP & set(given):
                described = "\n".join(flag.describe() for flag in known)
                print(inspect.cleandoc(doc) + (f"\n\nOptions:\n{described}" if known else ""))
                return 0
            return exit_status(lambda: run(parse_flags(known, given, words)))

        return main

    return decorate


def exit_status(
    run: Callable[[], int | None],
    errors: tuple[type[Exception], ...] = (UsageError, flags.Error, ValueError, OSError),
) -> int:
    """Calls `run`; what the user got wrong becomes one line on stderr.

    Args:
      run: returns the exit status, None for 0.
      errors: the exceptions that are the user's. Others are raised, as faults of the program, but
        for what the host cannot give: memory, a platform of jax.

    Returns:
      The status of `run`; 2 after an error of the user; 130 after Ctrl-C.
    """
    try:
        return run() or 0
    except errors as error:
        words = one_line(error)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except Exception as error:
        if not (words := _of_the_host(error)):
            raise  # a fault of the program: its traceback is shown
    print(f"error: {plain(words)}", file=sys.stderr)
    return USER_ERROR


def warn(warnings: Iterable[str]) -> None:
    """Tells warnings on stderr, a line each, whatever stands in them."""
    for warning in warnings:
        print(f"warning: {plain(warning)}", file=sys.stderr)


def leave(status: int) -> NoReturn:
    """Ends the process; one that was stopped by a signal does not await what still compiles."""
    sys.stdout.flush()
    sys.stderr.flush()
    if status > 128:
        os._exit(status)
    sys.exit(status)


def _of_the_host(error: Exception) -> str:
    """What the host cannot give to any program, in one line; empty: the error is another one."""
    words = one_line(error)
    if "Unable to initialize backend" in words or "Unknown backend" in words:
        return f"JAX_PLATFORMS: must be a platform that is here, {words.partition(' (set')[0]}"
    if isinstance(error, AssertionError) and _raised_in(error) == "xla_bridge.py":
        # So jax says that the one platform which was asked for is not there.
        asked = os.environ.get("JAX_PLATFORMS")
        return f"JAX_PLATFORMS: must be a platform that is here, got {asked!r}"
    if isinstance(error, MemoryError) or any(sign in words for sign in _OUT_OF_MEMORY):
        return f"out of memory, lower batch, depth, widths or cells_per_device: {words[:200]}"
    if isinstance(error, OverflowError | RecursionError):
        return f"a number or a file is too large: {words[:200]}"
    return ""


def _raised_in(error: Exception) -> str:
    """The name of the file that raised an exception."""
    frames = traceback.extract_tb(error.__traceback__)
    return pathlib.PurePath(frames[-1].filename).name if frames else ""


def one_line(error: Exception) -> str:
    """The message of an exception without line breaks."""
    text = str(error.args[0] if isinstance(error, KeyError) and error.args else error)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if any(line.startswith("Traceback") or "Traceback (" in line for line in lines):
        # An error inside a config file: its own last words, without the exception's name.
        return lines[-1].partition(": ")[2] or lines[-1]
    return " ".join(" ".join(lines).split()) or type(error).__name__
