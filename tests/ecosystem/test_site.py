"""The documentation as a site: it fetches nothing, and the reference leaves out no task type.

`make docs` builds it; here are the rules that need no build.
"""

from __future__ import annotations

import re
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from scripts.build_distributions import ROOT, find_projects
from scripts.check_site import find_fetches, main
from scripts.site_hooks import on_page_markdown

OURS = {project.name for project in find_projects()}
TASKS = sorted(
    entry.name
    for entry in entry_points(group="sparts.tasks")
    if entry.dist is not None and entry.dist.name in OURS
)


def write_site(folder: Path, page: str, style: str = "") -> None:
    (folder / "index.html").write_text(page, encoding="utf-8")
    (folder / "style.css").write_text(style, encoding="utf-8")


@pytest.mark.parametrize(
    "page",
    [
        '<script src="https://example.org/a.js"></script>',
        '<link rel="stylesheet" href="//example.org/a.css">',
        '<link rel="preconnect" href="https://example.org">',
        '<img src="http://example.org/a.png">',
        '<p style="background: url(https://example.org/a.png)">',
        "<style>@import 'https://example.org/a.css';</style>",
        '<pre class="mermaid"><code>graph TD</code></pre>',
    ],
)
def test_page_that_fetches_from_elsewhere_is_found_out(page: str, tmp_path: Path) -> None:
    write_site(tmp_path, page)
    assert [path.name for path, _ in find_fetches(tmp_path)] == ["index.html"]
    assert main(tmp_path) == 1


def test_fetching_style_sheet_is_found_out(tmp_path: Path) -> None:
    write_site(tmp_path, "", '@font-face { src: url("https://example.org/a.woff2") }')
    assert [address for _, address in find_fetches(tmp_path)] == ["https://example.org/a.woff2"]


def test_links_are_no_fetches(tmp_path: Path) -> None:
    page = '<a href="https://example.org">a</a><link rel="canonical" href="https://example.org">'
    write_site(tmp_path, f'{page}<script src="a.js"></script>', "p { background: url(a.png) }")
    assert main(tmp_path) == 0


def test_a_folder_without_a_site_is_an_error(tmp_path: Path) -> None:
    assert main(tmp_path) == 1


def test_the_repository_link_asks_its_host_for_nothing() -> None:
    """The theme's own has a component that fetches the numbers of stars and forks."""
    link = (ROOT / "scripts" / "site" / "partials" / "source.html").read_text(encoding="utf-8")
    assert "config.repo_url" in link
    assert "data-md-component" not in link


@pytest.mark.parametrize(
    ("fence", "shown"),
    [
        ('```python file=a.py args="-h"', '```python title="a.py"'),
        ("```console status=2", "```console"),
        ("```python", "```python"),
        ("```", "```"),
    ],
)
def test_marks_for_the_tests_are_not_shown(fence: str, shown: str) -> None:
    assert on_page_markdown(f"{fence}\nx\n```\n") == f"{shown}\nx\n```\n"


@pytest.mark.parametrize("task", TASKS)
def test_every_task_type_is_in_the_reference(task: str) -> None:
    table = (ROOT / "docs" / "tasks" / "index.md").read_text(encoding="utf-8")
    assert f"`{task}`" in table
    reference = "".join(path.read_text() for path in (ROOT / "docs" / "reference").glob("*.md"))
    (entry,) = entry_points(group="sparts.tasks", name=task)
    try:
        home = entry.load().__module__
    except ImportError:  # of what is not installed here
        home = entry.module
    shown = re.findall(r"^::: (\S+)", reference, re.MULTILINE)
    assert home in shown or f"{home}.{task}" in shown, home
