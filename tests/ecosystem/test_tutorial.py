"""The tutorial leads where it says, for a reader who has an empty folder and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.ecosystem.documentation import TUTORIAL, find_pages
from tests.ecosystem.walkthrough import walk_through

PAGES = [page for page in find_pages() if page.parent == TUTORIAL]


@pytest.mark.needs("curl")
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_page_can_be_done_from_top_to_bottom(
    page: Path, wheels: dict[str, Path], tmp_path: Path
) -> None:
    walk_through(page, tmp_path, wheels["sparts-core"].parent)


def test_the_tutorial_has_its_three_parts() -> None:
    assert {page.name for page in PAGES} >= {"first-service.md", "own-task.md", "plugin.md"}


@pytest.mark.parametrize(
    "block",
    [
        "```console\n$ pip install sparts-core\n```\n",
        "```console\n$ . .venv/bin/activate\n```\n",
        "```console\n$ cd nowhere\n```\n",
        "```console\n$ python3 -m venv v\n$ . v/bin/activate\n$ pip install sparts-core\n```\n",
        "```console\n$ export PIP_FIND_LINKS=/nowhere\n```\n",
        "```console\n$ make no-such-target\n```\n",
        "```python\nprint('never run')\n```\n",
        "```toml file=a.toml\n```\n```toml file=a.toml\n```\n",
    ],
)
def test_step_that_cannot_be_done_is_found_out(block: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    page = tmp_path / "page.md"
    page.write_text(block, encoding="utf-8")
    with pytest.raises(AssertionError):
        walk_through(page, tmp_path / "empty", tmp_path)
