"""The page of a run, opened in a browser where there is one."""

import html
import json
import re
import shutil
import subprocess

import pytest

from benchmarks.harness import html as pages
from benchmarks.page import main
from flaxdrop.table import Table

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")

# What a person does: sorts each column twice, and moves the pointer over a point.
HANDS = """
window.addEventListener("load", () => setTimeout(() => {
  const table = document.querySelector("table");
  const first = () => [...table.tBodies[0].rows].map(row => row.cells[0].textContent);
  const sorted = [...table.tHead.rows[0].cells].map(head => {
    head.firstChild.click(); const up = first();
    head.firstChild.click(); return [up, first()];
  });
  const hovers = [...document.querySelectorAll(".plotly-graph-div")].map(picture => {
    Plotly.Fx.hover(picture, [{curveNumber: 0, pointNumber: 0}]);
    return picture.querySelectorAll(".hovertext").length;
  });
  const found = document.createElement("pre");
  found.id = "found";
  found.textContent = JSON.stringify({sorted, hovers});
  document.body.append(found);
}, 500));
"""


@pytest.fixture(scope="module")
def page(trained_table, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "report.html"
    assert main([str(trained_table), "--out", str(path)]) == 0
    return path


def test_a_page_is_one_file_that_fetches_nothing(page):
    text = page.read_text()
    text = re.sub(r"<script>.*?</script>", "", text, flags=re.S)
    assert not re.search(r'(?:src|href)="(?!data:)', text)
    for words in ("What every variant reached", "Learning curves", "over the depth of the network"):
        assert words in text
    for variant in ("none", "p0", "p4", "p6"):
        assert f">{variant}</td>" in text


@pytest.mark.skipif(not CHROMIUM, reason="needs chromium, as Debian packages it")
def test_a_browser_shows_it_without_an_error(page, tmp_path):
    shown = tmp_path / "hands.html"
    shown.write_text(page.read_text().replace("</body>", f"<script>{HANDS}</script></body>"))
    found = subprocess.run(
        [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr"]
        + [f"--user-data-dir={tmp_path}/user", "--virtual-time-budget=20000", "--dump-dom"]
        + [shown.as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert "CONSOLE" not in found.stderr, found.stderr
    seen = re.search(r'<pre id="found">(.*?)</pre>', found.stdout, re.S)
    seen = json.loads(html.unescape(seen[1]))
    names = ["none", "p0", "p4", "p6"]
    assert seen["sorted"][0] == [names, names[::-1]]
    for up, down in seen["sorted"]:
        assert sorted(up) == sorted(down) == names
    assert len(seen["hovers"]) == 3
    assert all(seen["hovers"])


def test_words_of_strangers_are_shown_as_they_are():
    evil = '</td><script>alert("x")</script>'
    shown = pages.table(Table((evil, "n"), ((evil, "1.5 [1, 2]"),), (evil,)))
    shown += pages.page(evil, evil, [(evil, "")])
    assert "alert" in shown
    assert "<script>alert" not in shown


def test_a_column_sorts_by_the_number_that_it_begins_with():
    shown = pages.table(Table(("name", "points"), (("p2", "-3.50 [-5.0, -2.0]"),), ()))
    assert re.findall(r'data-key="([^"]*)"', shown) == ["p2", "-3.50"]


def test_mistakes_are_said_in_one_line(tmp_path, capsys):
    assert main([str(tmp_path)]) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: run: ")
    assert err.count("\n") == 1
