"""The command line of every study: `--config FILE[:form] [--config.field=value] ...`."""

import dataclasses
import inspect
import itertools
import logging
import pathlib
import signal
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from absl import flags
from ml_collections import config_flags

from benchmarks.harness.run import UsageError, run
from benchmarks.harness.study import Study
from flaxdrop.training.recipe import Recipe

_USER_ERROR = 2


def main(study: Study[Any]) -> NoReturn:
    """Runs a study from the command line and exits."""
    sys.exit(execute(study, sys.argv))


def execute(study: Study[Any], arguments: Sequence[str]) -> int:
    """Runs a study as a command line says.

    Args:
      study: what to run.
      arguments: as `sys.argv`, the program's name first.

    Returns:
      The exit status: 0, finished, or the time budget is spent; 2, a mistake of the user, said in
      one line on stderr; 128 + the signal's number, stopped by it.
    """
    values = flags.FlagValues()
    config = config_flags.DEFINE_config_file(
        "config",
        None,
        "the run: configs/FILE.py[:form]",
        flag_values=values,
        lock_config=True,
        sys_argv=arguments,
    )
    flags.DEFINE_string(
        "workdir",
        None,
        "where results go (default: a folder of its own under runs/)",
        flag_values=values,
    )
    flags.DEFINE_bool(
        "dry_run", False, "print cells, cost and an estimate, train nothing", flag_values=values
    )
    if {"--help", "-h", "-help", "--helpfull"} & set(arguments[1:]):
        print(_help(study))
        return 0
    try:
        _check_words(study, arguments)
        rest = values(arguments)
        if len(rest) > 1:
            raise ValueError(f"unexpected argument {rest[1]!r}; see --help")
        if config.value is None:
            raise ValueError(f"--config is missing, for example --config {study.example}")
        settings = study.settings.of(config.value)
    except (flags.Error, ValueError, TypeError, KeyError, AttributeError, OSError) as error:
        return _fail(error)
    except Exception as error:  # a config file is a program, and may raise anything
        return _fail(ValueError(f"config: {type(error).__name__}: {error}"))
    logging.getLogger("absl").setLevel(logging.ERROR)
    try:
        return run(
            study, settings, workdir=values["workdir"].value, dry_run=bool(values["dry_run"].value)
        )
    except UsageError as error:
        return _fail(error)
    except KeyboardInterrupt:  # the second one: what was saved before is left
        return 128 + signal.SIGINT


def _fail(error: Exception) -> int:
    print(f"error: {_one_line(error)}", file=sys.stderr)
    return _USER_ERROR


def _check_words(study: Study[Any], arguments: Sequence[str]) -> None:
    """Finds the two commonest mistakes first: the config's parser says them in 10 lines."""
    known = [field.name for field in dataclasses.fields(study.settings)]
    for argument, following in itertools.pairwise([*arguments, ""]):
        if not argument.startswith("-"):
            continue
        name, equals, value = argument.lstrip("-").partition("=")
        path = (value if equals else following).partition(":")[0]
        if name == "config" and not pathlib.Path(path).is_file():
            raise ValueError(f"config: there is no file {path!r}, see configs/")
        field = name.removeprefix("config.")
        if field != name and field.partition("[")[0] not in known:
            raise ValueError(f"{field}: unknown field, choose one of {', '.join(known)}")


def _one_line(error: Exception) -> str:
    text = str(error.args[0] if isinstance(error, KeyError) and error.args else error)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if any(line.startswith("Traceback") or "Traceback (" in line for line in lines):
        # An error inside a config file: its own last words, without the exception's name.
        return lines[-1].partition(": ")[2] or lines[-1]
    return " ".join(lines) or type(error).__name__


def _help(study: Study[Any]) -> str:
    fields = "\n\n".join(map(inspect.cleandoc, _field_docs(study)))
    return f"""{study.question}

  python -m benchmarks.{study.name} --config {study.example} [options]

  --config FILE.py:form  one of configs/, which say their forms: full, quick, tiny
  --config.FIELD=VALUE   override a field of the config, for example --config.seeds=5
  --workdir DIR          where results go (default: a folder of its own under runs/)
  --dry_run              print cells, cost and an estimate, train nothing

The same command goes on where a run was stopped. Fields:

{fields}"""


def _field_docs(study: Study[Any]) -> list[str]:
    kinds = [kind for kind in study.settings.__mro__ if issubclass(kind, Recipe)]
    return [kind.__doc__ or "" for kind in kinds]
