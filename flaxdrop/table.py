"""A table of texts, for a terminal and as Markdown."""

import dataclasses
import textwrap

WIDTH = 120
EMPTY = "-"


@dataclasses.dataclass(frozen=True)
class Table:
    """columns: names; cells: a row a variant, one text a column; notes: lines below the table."""

    columns: tuple[str, ...]
    cells: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...]

    def markdown(self) -> str:
        """A Markdown table with the notes as a list below it."""
        lines = [self.columns, tuple("---" for _ in self.columns), *self.cells]
        table = ["| " + " | ".join(c.replace("|", "\\|") for c in line) + " |" for line in lines]
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
