"""The first pages, README.md and docs/index.md: one example, and its picture (`make pictures`)."""

from __future__ import annotations

import http.client
import os
import time
import urllib.request
from math import sin
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from sparts.testing import running

from scripts.build_distributions import ROOT
from tests.browsers import launched
from tests.ecosystem.documentation import Block, find_blocks
from tests.processes import imported

PICTURE = ROOT / "docs" / "pictures" / "first-page.png"
HERE = ["--asgi-host", "127.0.0.1", "--asgi-port", "0", "--status-port", "0"]
MINUTES = 60


def first_block(page: str) -> Block:
    """Give the first example of a page."""
    path = ROOT / page
    return next(iter(find_blocks(path, path.read_text(encoding="utf-8"))))


def load(folder: Path) -> ModuleType:
    """Import the example of README.md."""
    path = folder / "photos.py"
    path.write_text(first_block("README.md").code, encoding="utf-8")
    return imported(path)


def test_both_first_pages_show_the_same_example() -> None:
    assert first_block("README.md").code == first_block("docs/index.md").code


def test_the_picture_is_there_and_small() -> None:
    assert PICTURE.stat().st_size < 200_000
    for page in ("README.md", "docs/index.md"):
        assert PICTURE.name in (ROOT / page).read_text(encoding="utf-8")


def test_the_route_awaits_the_queue(tmp_path: Path) -> None:
    module = load(tmp_path)
    with running(module.Photos, *HERE) as service:
        host, port = service.requireTask("Web").bound_addrs[0]
        with urllib.request.urlopen(f"http://{host}:{port}/resize/cat.jpg") as answer:
            assert answer.read() == b'"small-cat.jpg"'
        assert service.getCounter("Resize.n_completed") == 1


@pytest.mark.needs("chromium")
@pytest.mark.skipif("PICTURES" not in os.environ, reason="make pictures")
def test_pictures_of_the_first_page(tmp_path: Path) -> None:
    module = load(tmp_path)
    with running(module.Photos, *HERE) as service, launched() as browser:
        web = service.requireTask("Web").bound_addrs[0]
        status = service.requireTask("StatusHTTPTask")
        add_past(status)
        page = browser.new_page(viewport={"width": 1280, "height": 385})
        page.goto(f"http://127.0.0.1:{status.bound_addrs[0][1]}/")
        page.get_by_text("Resize").first.wait_for()
        client = http.client.HTTPConnection(*web)
        for number in range(3000):
            client.request("GET", f"/resize/{number}.jpg")
            client.getresponse().read()
        client.close()
        page.screenshot(path=PICTURE)
        page.close()


def add_past(status: Any) -> None:
    """Give the service an hour that it had not, for the plots."""
    now, total = time.time(), 0.0
    for sample in range(MINUTES * 6):
        figures = status.figures()
        total += 15000 + 6000 * sin(sample / 40) + 1500 * sin(sample * 1.7)
        for index, figure in enumerate(figures.figures):
            if figure.name in ("requests", "n_completed", "n_iterations"):
                figures.values[index] = total if figure.task in ("Web", "Resize") else total / 1e4
            elif figure.name == "queue_depth":
                figures.values[index] = max(0.0, 20 * sin(sample / 25) + 6 * sin(sample))
            elif "duration" in figure.name and not figure.grows:
                figures.values[index] = 4 + 2 * sin(sample / 30) + sin(sample * 2.1)
        status.history.add(now - 60 * MINUTES + 10 * sample, figures)
