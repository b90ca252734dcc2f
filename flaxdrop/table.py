"""A table of texts, for a terminal and as Markdown."""

import dataclasses
import re
import textwrap

WIDTH = 120
EMPTY = "-"


# Where an element of HTML begins.
_ELEMENT = re.compile(r"<(?=[A-Za-z/!?])")
# What Markdown reads as HTML, a bar of a table, a link, code or emphasis.
_SPECIAL = re.compile(r"[\\`*_\[\]<>&|#~!]")


def plain(text: str) -> str:
    """Text of a stranger on one line, without control characters: what a terminal shows as it is.

    >>> plain("cpu\\x1b[31m\\n# red")
    'cpu[31m # red'
    """
    return "".join(char for char in " ".join(text.split()) if char.isprintable())


def escaped(text: str) -> str:
    """Text of a stranger as Markdown that shows it, whatever it is.

    >>> escaped("<script> a|b_c")
    '\\\\<script\\\\> a\\\\|b\\\\_c'
    """
    return _SPECIAL.sub(lambda found: "\\" + found[0], plain(text))


def _cell(text: str) -> str:
    """A cell in Markdown: emphasis and links stay, nothing leaves the cell or is HTML."""
    return _ELEMENT.sub(r"\\<", plain(text)).replace("|", "\\|")


@dataclasses.dataclass(frozen=True)
class Table:
    """columns: names; cells: a row a variant, one text a column; notes: lines below the table."""

    columns: tuple[str, ...]
    cells: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...]

    def markdown(self) -> str:
        """A Markdown table with the notes as a list below it."""
        lines = [self.columns, tuple("---" for _ in self.columns), *self.cells]
        table = ["| " + " | ".join(map(_cell, line)) + " |" for line in lines]
        return "\n".join([*table, "", *(f"- {note}" for note in self.notes)]) + "\n"

    def text(self) -> str:
        """Aligned columns for a terminal of 120 columns.

        What does not fit goes on below, with the first column again.
        """
        fewest = len(self._blocks(WIDTH))
        narrowest = next(w for w in range(WIDTH + 1) if len(self._blocks(w)) == fewest)
        widths = self._widths()
        rule = tuple("-" * width for width in widths)
        lines = []
        for block in self._blocks(narrowest):
            for line in (self.columns, rule, *self.cells):
                lines.append("  ".join(line[i].ljust(widths[i]) for i in block).rstrip())
            lines.append("")
        for note in self.notes:
            lines += textwrap.wrap(note, WIDTH, subsequent_indent="  ", break_on_hyphens=False)
        return "\n".join(lines) + "\n"

    def _widths(self) -> list[int]:
        return [max(map(len, column)) for column in zip(self.columns, *self.cells, strict=True)]

    def _blocks(self, width: int) -> list[list[int]]:
        widths = self._widths()
        blocks = [[0]]
        for i in range(1, len(widths)):
            used = sum(widths[j] + 2 for j in blocks[-1])
            if len(blocks[-1]) > 1 and used + widths[i] > width:
                blocks.append([0])
            blocks[-1].append(i)
        return blocks
