"""Every Python block of the pages runs, and every command in them exists and takes its options."""

import contextlib
import importlib
import io
import re
import runpy
import shlex
import shutil
import sys
import tomllib
import warnings

import pytest
from sybil import Sybil
from sybil.parsers.markdown import PythonCodeBlockParser, SkipParser

from benchmarks.harness import command
from tests.docs.pages import PAGES, ROOT, blocks, commands

SYBIL = Sybil(parsers=[PythonCodeBlockParser(), SkipParser()])
BUILTIN = ("cd", "source")


@pytest.mark.parametrize("page", PAGES)
def test_python_blocks_run(page):
    examples = list(SYBIL.parse(ROOT / page))
    assert len(examples) >= len(blocks(page, "python"))
    with contextlib.redirect_stdout(io.StringIO()):
        for example in examples:
            example.evaluate()


@pytest.mark.parametrize("page", PAGES)
def test_blocks_say_their_language(page):
    assert not blocks(page, "")


@pytest.mark.parametrize("page", [page for page in PAGES if commands(page)])
def test_commands_exist_and_take_their_options(page, monkeypatch):
    monkeypatch.chdir(ROOT)
    # Studies read their command line to its end, and train nothing.
    monkeypatch.setattr(command, "run", lambda *_, **__: 0)
    for line in dict.fromkeys(commands(page)):
        words = shlex.split(line)
        if words[:2] == ["python", "-m"]:
            check_benchmark(words[2], words[3:])
        elif words[0] == "make":
            check_target(words[1])
        elif words[:2] == ["pip", "install"]:
            check_extras(words[2:])
        else:
            assert words[0] in BUILTIN or shutil.which(words[0]), line


def check_benchmark(name, words):
    if "NAME" in name or any("NAME" in word for word in words):
        return  # of a study that the reader writes
    module = importlib.import_module(name)
    study = getattr(module, "STUDY", None)
    if study is None:
        options = {word.partition("=")[0] for word in words if word.startswith("--")}
        assert options <= (known := options_of(name) if options else set()), (name, words, known)
    else:
        sys.modules.pop("config_config", None)  # ml_collections loads the next config into the last
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore", DeprecationWarning)
            assert command.execute(study, [name, *words]) == 0, (name, words)


def options_of(name):
    """The options that `python -m name --help` tells."""
    said = io.StringIO()
    arguments = sys.argv
    sys.argv = [name, "--help"]
    try:
        with contextlib.redirect_stdout(said), warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # it is imported already
            with pytest.raises(SystemExit) as left:
                runpy.run_module(name, run_name="__main__")
    finally:
        sys.argv = arguments
    assert not left.value.code
    return set(re.findall(r"--\w+", said.getvalue()))


def check_target(target):
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE), target


def check_extras(words):
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for word in words:
        if match := re.fullmatch(r"\.\[(.+)\]", word):
            assert set(match[1].split(",")) <= extras["optional-dependencies"].keys()
