"""The pages that users read, and what stands in them."""

import pathlib
import re

ROOT = pathlib.Path(__file__).parents[2]
PAGES = ("README.md", "CONTRIBUTING.md", *sorted(f"docs/{p.name}" for p in ROOT.glob("docs/*.md")))

_FENCE = re.compile(r"^```([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"`((?:python -m|make|pip install) [^`\n]+)`")


def text_of(page: str) -> str:
    """A page by its name, as it stands in the repository."""
    return (ROOT / page).read_text()


def blocks(page: str, *languages: str) -> list[str]:
    """Its code blocks in these languages."""
    return [code for language, code in _FENCE.findall(text_of(page)) if language in languages]


def prose(page: str) -> str:
    """Its text without the code blocks."""
    return _FENCE.sub("", text_of(page))


def commands(page: str) -> list[str]:
    """The shell commands of its blocks and those within its sentences, one a line."""
    lines = "".join(blocks(page, "sh")).replace("\\\n", " ").splitlines()
    simple = [command for line in lines for command in line.partition("#")[0].split("&&")]
    return [command.strip() for command in simple if command.strip()] + _INLINE.findall(prose(page))
