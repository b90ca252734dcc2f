"""The command line of every study: `--config FILE[:form] [--config.field=value] ...`."""

import dataclasses
import inspect
import itertools
import logging
import pathlib
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from absl import flags
from ml_collections import ConfigDict, config_flags

from benchmarks.harness.arguments import HELP, UsageError, exit_status, leave, one_line, parse
from benchmarks.harness.catalog import command_of
from benchmarks.harness.run import run
from benchmarks.harness.study import Study
from flaxdrop.training.recipe import Recipe


def main(study: Study[Any]) -> NoReturn:
    """Runs a study from the command line and exits."""
    leave(execute(study, sys.argv))


def execute(
    study: Study[Any],
    arguments: Sequence[str],
    runner: Callable[..., int] | None = None,
) -> int:
    """Runs a study as a command line says.

    Args:
      study: what to run.
      arguments: as `sys.argv`, the program's name first.
      runner: takes what `benchmarks.harness.run.run` takes and returns the exit status; None: that.

    Returns:
      The exit status: 0, finished, or the time budget is spent; 2, a mistake of the user, said in
      one line on stderr; 128 + the signal's number, stopped by it.
    """
    values = flags.FlagValues()
    flags.DEFINE_string(
        "workdir",
        None,
        "where results go (default: a folder of its own under runs/)",
        flag_values=values,
    )
    flags.DEFINE_bool(
        "dry_run", False, "print cells, cost and an estimate, train nothing", flag_values=values
    )
    flags.DEFINE_bool(
        "tensorboard", False, "write the curves of each cell while it trains", flag_values=values
    )
    flags.DEFINE_string(
        "cluster",
        "",
        "train on a cluster of Ray: auto, or HOST:PORT of its head",
        flag_values=values,
    )
    for name, meaning in study.short.items():
        flags.DEFINE_string(name, None, meaning, flag_values=values)
    if HELP & set(arguments[1:]):
        print(_help(study))
        return 0
    settings: Any = None

    def read() -> None:
        nonlocal settings
        try:
            _check_words(study, arguments)
            # This reads the command line already, a --flagfile too.
            config = config_flags.DEFINE_config_file(
                "config",
                None,
                "the run: configs/FILE.py[:form]",
                flag_values=values,
                lock_config=True,
                sys_argv=arguments,
            )
            parse(values, arguments)
            if config.value is None:
                raise ValueError(f"--config is missing, for example --config {study.example}")
            if not isinstance(config.value, ConfigDict | dict):
                kind = type(config.value).__name__
                raise ValueError(f"config: get_config must return a ConfigDict, got {kind}")
            given = {
                name: values[name].value for name in study.short if values[name].value is not None
            }
            config.value.update(given)
            settings = study.settings.of(config.value)
        except (flags.Error, ValueError, TypeError, KeyError, AttributeError, OSError) as error:
            raise UsageError(one_line(error)) from error
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # a config file is a program: it may raise anything
            raise UsageError(f"config: {type(error).__name__}: {error}") from error

    if status := exit_status(read):
        return status
    logging.getLogger("absl").setLevel(logging.ERROR)
    known = ("workdir", "dry_run", "tensorboard", "cluster")
    options: dict[str, Any] = {name: values[name].value for name in known}
    # An exception of another kind is a fault of the program: its traceback is shown.
    start = runner or run
    return exit_status(lambda: start(study, settings, **options), errors=(UsageError,))


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


def _help(study: Study[Any]) -> str:
    own = "".join(f"\n  {'--' + name:<23}{meaning}" for name, meaning in study.short.items())
    fields = "\n\n".join(map(inspect.cleandoc, _field_docs(study)))
    return f"""{study.question}

  {command_of(study)} --config {study.example} [options]

  --config FILE.py:form  one of configs/, which say their forms: full, quick, tiny
  --config.FIELD=VALUE   override a field of the config, for example --config.seeds=5{own}
  --workdir DIR          where results go (default: a folder of its own under runs/)
  --dry_run              print cells, cost and an estimate, train nothing
  --tensorboard          write the curves of each cell to DIR/tensorboard while it trains
  --cluster auto|ADDRESS train on the hosts of a cluster of Ray, see docs/cluster.md

The same command goes on where a run was stopped. Fields:

{fields}"""


def _field_docs(study: Study[Any]) -> list[str]:
    kinds = [kind for kind in study.settings.__mro__ if issubclass(kind, Recipe)]
    return [kind.__doc__ or "" for kind in kinds]
