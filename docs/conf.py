"""The site: `make docs` builds it from these pages and the docstrings, without a network."""

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx

import flaxdrop

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


def leave_other_libraries(
    app: Sphinx, env: object, node: pending_xref, words: nodes.Element
) -> nodes.Element | None:
    """Shows names of other libraries, and shapes such as `[N, H, W, C]`, as they stand."""
    del app, env
    return None if node["reftarget"].startswith("flaxdrop") else words


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
    app.connect("missing-reference", leave_other_libraries)
    app.connect("autodoc-process-signature", hide_parent)
    app.connect("autodoc-process-docstring", keep_tables)
