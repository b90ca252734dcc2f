"""A page of HTML in one file: tables that sort at a click, and pictures; it fetches nothing."""

import html
import re
from collections.abc import Sequence

import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

from flaxdrop.table import Table, plain

_NUMBER = re.compile(r"[+-]?\d+(?:\.\d+)?")
_LONG = 44  # characters: a cell of more is written over several lines
_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #222; max-width: 72rem; margin: 2rem auto;
       padding: 0 1rem; }
h1 { font-size: 1.5rem; margin-bottom: 0; } h2 { font-size: 1.15rem; margin-top: 2.5rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .3rem .8rem .3rem 0; border-bottom: 1px solid #ddd;
         white-space: nowrap; vertical-align: top; }
td.long { white-space: normal; min-width: 18rem; }
th button { all: unset; cursor: pointer; font-weight: 600; }
th button:focus-visible { outline: 2px solid #0068ac; }
th[aria-sort=ascending] button::after { content: " \\2191"; }
th[aria-sort=descending] button::after { content: " \\2193"; }
ul { font-size: .9rem; color: #555; padding-left: 1.2rem; }
"""
_SORT = """
for (const table of document.querySelectorAll("table")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => head.firstChild.addEventListener("click", () => {
    const down = head.getAttribute("aria-sort") === "ascending";
    const key = row => row.cells[column].dataset.key;
    const rows = [...table.tBodies[0].rows].sort((a, b) => {
      const [x, y] = [Number(key(a)), Number(key(b))];
      const order = isNaN(x) || isNaN(y) ? key(a).localeCompare(key(b)) : x - y;
      return down ? -order : order;
    });
    heads.forEach(other => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    table.tBodies[0].append(...rows);
  }));
}
"""


def page(title: str, subtitle: str, sections: Sequence[tuple[str, str]]) -> str:
    """A whole page.

    Args:
      title: the question.
      subtitle: on what it was measured.
      sections: (heading, HTML) of each.
    """
    body = "\n".join(f"<h2>{_text(heading)}</h2>\n{content}" for heading, content in sections)
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,">
<title>{_text(title)}</title>
<style>{_STYLE}</style>
<script>{get_plotlyjs()}</script>
</head>
<body>
<h1>{_text(title)}</h1>
<p>{_text(subtitle)}</p>
{body}
<script>{_SORT}</script>
</body>
</html>
"""


def table(content: Table) -> str:
    """A table; a click on a column sorts it by the number it begins with, or as text."""
    heads = "".join(
        f'<th scope="col"><button type="button">{_text(name)}</button></th>'
        for name in content.columns
    )
    rows = "\n".join(
        "<tr>" + "".join(map(_cell, row, [False, *[True] * len(row)])) + "</tr>"
        for row in content.cells
    )
    notes = "".join(f"<li>{_text(note)}</li>" for note in content.notes)
    return (
        f'<div class="wide"><table><thead><tr>{heads}</tr></thead>\n<tbody>\n{rows}\n</tbody>'
        f"</table></div>\n<ul>{notes}</ul>"
    )


def picture(figure: go.Figure) -> str:
    """A picture that tells what is under the pointer."""
    found: str = figure.to_html(
        full_html=False, include_plotlyjs=False, config={"responsive": True, "displaylogo": False}
    )
    return found


def paragraph(text: str) -> str:
    """A paragraph of text."""
    return f"<p>{_text(text)}</p>"


def _cell(text: str, is_number: bool) -> str:
    found = _NUMBER.match(text) if is_number else None
    kind = ' class="long"' if len(text) > _LONG else ""
    return f'<td{kind} data-key="{_text(found[0] if found else text)}">{_text(text)}</td>'


def _text(text: str) -> str:
    """Text of a stranger, shown as it is."""
    return html.escape(plain(text))
