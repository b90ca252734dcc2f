"""Links within the repository lead somewhere; Sphinx checks those of its own pages, too."""

import re

import pytest

from tests.docs.pages import PAGES, ROOT, prose, text_of

LINK = re.compile(r"\]\((?!https?:)([^)\s#]*)(?:#([^)\s]*))?\)")


def anchors(page):
    headings = re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", [*PAGES, "CHANGELOG.md", "BENCHMARKS.md"])
def test_links_lead_somewhere(page):
    folder = (ROOT / page).parent
    for path, anchor in LINK.findall(prose(page)):
        target = (folder / path).resolve() if path else ROOT / page
        assert target.exists(), (path, anchor)
        if anchor:
            assert anchor in anchors(target.relative_to(ROOT)), (path, anchor)


def test_the_readme_is_short():
    readme = text_of("README.md")
    assert len(readme.splitlines()) <= 100
    assert len(readme.split()) < 900
