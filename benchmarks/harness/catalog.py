"""The list of what can be run: a new study or tool is one line in it."""

import ast
import functools
import importlib
import importlib.util
import inspect
import pathlib
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:  # the list is printed without jax
    from benchmarks.harness.plan import S
    from benchmarks.harness.study import Study

STUDIES = (
    "preresnet",
    "schedules",
    "vgg_depth",
    "pooling",
    "head",
    "transfer",
    "pretrain",
)
RACE = "where"  # a tool whose runs are those of a study
TEMPLATE = "templates.study"
TOOLS = (
    RACE,
    "probe",
    "uncertainty",
    "compare",
    "export",
    "page",
    "module_tests",
    "reproduce",
    "report",
    "throughput",
    "throughput.scale",
    "throughput.profile",
    "throughput.tpu",
    "throughput.forecast",
)
_FOLDER = pathlib.Path(__file__).parents[1]


class About(NamedTuple):
    """What a module says of itself.

    Attributes:
      question: the first line of its docstring.
      example: the first command in its docstring.
    """

    question: str
    example: str


def about(name: str) -> About:
    """Reads the docstring of a study or a tool, without importing it.

    Raises:
      ValueError: the docstring names no command that runs it.
    """
    path = _FOLDER / name.replace(".", "/")
    file = path / "__main__.py" if path.is_dir() else path.with_suffix(".py")
    lines = (ast.get_docstring(ast.parse(file.read_text())) or "").splitlines()
    command = f"python -m benchmarks.{name}"
    example = next((line.strip() for line in lines if line.strip().startswith(command)), "")
    if not example:
        raise ValueError(f"{file}: its docstring must have a line `{command} ...`, got none")
    return About(lines[0], example.partition("   ")[0])


def load_study(name: str, source: str = "") -> "Study[Any]":
    """Imports a study.

    Args:
      name: of a study in the list; or any, with a source.
      source: the file of a study that is not in the list, empty for one that is.

    Raises:
      ValueError: it is not in the list, or its file is gone or is no study any more.
    """
    if not source and name not in (*STUDIES, RACE, TEMPLATE):
        raise ValueError(f"study: must be one of {', '.join(STUDIES)}, got {name!r}")
    return import_study(name, source)


def import_study(name: str, source: str = "") -> "Study[Any]":
    """As `load_study`, of a study or a tool that has one."""
    if source:
        return _study_in(pathlib.Path(source))
    study: Study[Any] = importlib.import_module(f"benchmarks.{name}").STUDY
    return study


def _study_in(file: pathlib.Path) -> "Study[Any]":
    spec = importlib.util.spec_from_file_location(file.stem, file)
    if spec is None or spec.loader is None or not file.is_file():
        raise ValueError(f"study: its file must be where it was, {file} is gone")
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(file.parent))  # for what it imports from beside it
    sys.modules[file.stem] = module  # dataclasses look their module up
    try:
        spec.loader.exec_module(module)
        study: Study[Any] = module.STUDY
    except Exception as error:
        raise ValueError(f"study: {file} must define STUDY: {error}") from error
    return study


def source_of(study: "Study[Any]") -> str:
    """The file of a study that is not in the list; empty for one that is."""
    if study.name in (*STUDIES, *TOOLS, TEMPLATE):
        return ""
    return str(pathlib.Path(inspect.getfile(study.variants)).resolve())


def command_of(study: "Study[Any]") -> str:
    """How a study is called."""
    return (
        f"python {source}" if (source := source_of(study)) else f"python -m benchmarks.{study.name}"
    )


def load_settings(study: "Study[S]", config: str, **changes: Any) -> "S":
    """Reads a config of this repository.

    Args:
      study: whose config it is.
      config: as after `--config`, for example "configs/cifar10.py:quick".
      **changes: fields that are overridden.

    Raises:
      ValueError: an unknown form, or a value out of its range.
    """
    file, _, form = config.partition(":")
    values = _get_config(file)(*[form] if form else [])
    values.update(changes)
    return study.settings.of(values)


@functools.cache
def _get_config(file: str) -> Any:
    name = ".".join(pathlib.PurePosixPath(file).with_suffix("").parts)
    return importlib.import_module(name).get_config
