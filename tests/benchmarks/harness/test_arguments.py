"""One command line for all tools: flags, --help, exit statuses."""

import pytest

from benchmarks.harness.arguments import Flag, UsageError, exit_status, tool

FLAGS = (
    Flag("name", "", "who it is", required=True),
    Flag("count", 3, "how many"),
    Flag("share", 0.5, "how much of it"),
    Flag("mode", "fast", "how it goes", ("fast", "slow")),
    Flag("dry_run", False, "do nothing"),
)


@pytest.fixture
def options():
    """The options that a command line gives; nothing is said on stderr."""

    def read(*arguments):
        found = []
        assert tool("A tool.", FLAGS)(found.append)(arguments) == 0
        return vars(found[0])

    return read


def test_what_is_not_given_has_its_default(options):
    expected = {"name": "a", "count": 3, "share": 0.5, "mode": "fast", "dry_run": False}
    assert options("--name", "a") == expected


@pytest.mark.parametrize("join", [False, True])
def test_values_follow_a_space_or_an_equals_sign(options, join):
    given = {"name": "a", "count": 7, "share": 2.0, "mode": "slow"}
    words = [(f"--{name}", str(value)) for name, value in given.items()]
    arguments = ["=".join(pair) for pair in words] if join else [w for pair in words for w in pair]
    assert options(*arguments, "--dry_run") == {**given, "dry_run": True}


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ((), "--name: must be given"),
        (("--name=a", "--count=many"), "count"),
        (("--name=a", "--mode=late"), "fast"),
        (("--name=a", "--nam=b"), "nam"),
        (("--name=a", "extra"), "extra"),
    ],
)
def test_a_mistake_is_one_line_and_status_2(arguments, word, capsys):
    assert tool("A tool.", FLAGS)(lambda _: None)(arguments) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("error: ")
    assert said.err.count("\n") == 1
    assert word in said.err


def test_help_says_what_the_tool_and_every_flag_are_for(capsys):
    assert tool("A tool.", FLAGS)(lambda _: None)(["--help"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("A tool.")
    for flag in FLAGS:
        assert f"--{flag.name}" in said
        assert flag.help in said
    assert "default: 3" in said


@pytest.mark.parametrize("kind", [UsageError, ValueError, OSError])
def test_errors_of_the_user_are_one_line(kind, capsys):
    def run():
        raise kind("batch: must be\n  small")

    assert exit_status(run) == 2
    assert capsys.readouterr().err == "error: batch: must be small\n"


def test_a_fault_of_the_program_is_raised():
    def run():
        raise RuntimeError("a fault")

    with pytest.raises(RuntimeError, match="a fault"):
        exit_status(run)
    with pytest.raises(ValueError, match="a fault"):
        exit_status(lambda: int("a fault"), errors=(UsageError,))


def test_ctrl_c_ends_with_its_own_status_and_without_a_traceback(capsys):
    def run():
        raise KeyboardInterrupt

    assert exit_status(run) == 130
    assert "Traceback" not in capsys.readouterr().err
