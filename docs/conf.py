"""The site: `make docs` builds it from these pages and the docstrings, without a network."""

import pathlib
import re
import sys

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx

import flaxdrop

ROOT = pathlib.Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))  # for benchmarks, which is not installed

project = "flaxdrop"
author = "flaxdrop contributors"
copyright = author  # noqa: A001, Sphinx calls it so
version = release = flaxdrop.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
]
templates_path = ["_templates"]
exclude_patterns = ["_templates"]
nitpicky = True  # a reference to a name of ours that is not there is an error
smartquotes = False
default_role = "py:obj"  # `name` in a docstring is a link where there is such a name
myst_heading_anchors = 3  # as GitHub makes them: links between pages work in both places

html_theme = "furo"
html_title = f"flaxdrop {version}"
html_copy_source = False
html_show_sphinx = False

add_module_names = False
autodoc_member_order = "bysource"
autodoc_typehints = "none"  # shapes, which are in the words, say more
autosummary_ignore_module_all = False
napoleon_use_ivar = True
napoleon_use_rtype = False

RESULTS = "BENCHMARKS.md"  # is a page of the site, too, under the name of `results.md`


def show_results(app: Sphinx, page: str, source: list[str]) -> None:
    """Puts the results in their page, and lets links to them, as GitHub needs them, lead there."""
    del app
    if page == "results":
        source[0] = re.sub(r"\[([^]]*)\]\(([^)#:]+)\)", from_docs, (ROOT / RESULTS).read_text())
    else:
        source[0] = source[0].replace(f"(../{RESULTS}", "(results.md")


def from_docs(link: re.Match[str]) -> str:
    """A link of a page in the root, as a page in docs/ has it; the words alone for a folder."""
    words, path = link.groups()
    if not (ROOT / path).is_file():
        return f"`{words}`" if (ROOT / path).is_dir() else link[0]
    return f"[{words}]({path.removeprefix('docs/') if path.startswith('docs/') else f'../{path}'})"


def leave_other_libraries(
    app: Sphinx, env: object, node: pending_xref, words: nodes.Element
) -> nodes.Element | None:
    """Shows names of other libraries, and shapes such as `[N, H, W, C]`, as they stand."""
    del app, env
    other = node.get("refdomain") == "py" and not node["reftarget"].startswith("flaxdrop")
    return words if other else None


def hide_parent(
    app: Sphinx,
    kind: str,
    name: str,
    documented: object,
    options: object,
    signature: str | None,
    returns: str | None,
) -> tuple[str | None, str | None]:
    """Shortens the signature of a Flax module: every one has a parent and a name."""
    del app, kind, name, documented, options
    own, parent, _ = (signature or "").partition(", parent=")
    return own + ")" if parent else signature, returns


def keep_tables(
    app: Sphinx, kind: str, name: str, documented: object, options: object, lines: list[str]
) -> None:
    """Shows a Markdown table in a docstring as it stands."""
    del app, kind, name, documented, options
    shown: list[str] = []
    inside = False
    for line in lines:
        row = line.lstrip().startswith("|")
        if row and not inside:
            shown += ["::", ""]
        elif inside and not row:
            shown.append("")
        shown.append("  " + line if row else line)
        inside = row
    lines[:] = shown


def setup(app: Sphinx) -> None:
    """Connects the hooks above."""
    app.connect("source-read", show_results)
    app.connect("missing-reference", leave_other_libraries)
    app.connect("autodoc-process-signature", hide_parent)
    app.connect("autodoc-process-docstring", keep_tables)
