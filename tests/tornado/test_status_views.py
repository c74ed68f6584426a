"""Every view of the status page: for all to use, small, quick, and pictured in the docs.

``make pictures`` writes the pictures into docs/pictures.
"""

from __future__ import annotations

import gzip
import os
import time
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]
from sparts.tasks.event import EventTask
from sparts.tasks.tornado.status import StatusHTTPTask
from sparts.tasks.tornado.status.handlers import STATIC

from tests.tornado.page_services import Mailer, busy
from tests.tornado.status_clients import CONTROL
from tests.tornado.test_status_page import go, opened, unlock, url_of
from tests.tornado.test_status_page import quick as quick

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.needs("chromium")

PICTURES = Path(__file__).parents[2] / "docs" / "pictures"
VIEWS = ["overview", "task/Mailer", "log", "stacks", "options", "graph", "plugins", "instances"]
WIDE, NARROW = {"width": 1280, "height": 800}, {"width": 360, "height": 640}


@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["wide", "narrow"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_view_is_accessible(browser: Browser, scheme: Any, size: Any) -> None:
    with busy(*CONTROL) as service:
        service.registerWarning("w" * 200)
        service.setExportedValue("long", "x" * 200)
        look: Any = {"color_scheme": scheme, "viewport": size, "reduced_motion": "reduce"}
        with opened(browser, service, bypass_csp=True, **look) as page:
            unlock(page)
            for view in VIEWS:
                go(page, view)
                page.wait_for_function("() => document.querySelectorAll('#view h2').length > 0")
                if view == "task/Mailer":
                    page.get_by_text("'slow four'").first.wait_for()
                assert page.evaluate("document.documentElement.scrollWidth") == size["width"], view
                found = Axe().run(page)
                assert found.violations_count == 0, f"{view}: {found.generate_report()}"
            assert page.evaluate("document.getAnimations().length") == 0


def test_page_can_be_used_by_keyboard(browser: Browser) -> None:
    with busy(*CONTROL) as service, opened(browser, service) as page:
        unlock(page)
        page.wait_for_function("() => document.activeElement.id === 'restart'")
        page.locator("a.skip").focus()
        reached: list[str] = []
        for _ in range(14):
            page.keyboard.press("Tab")
            reached.append(page.evaluate("document.activeElement.innerText"))
            outline = "getComputedStyle(document.activeElement).outlineStyle"
            assert page.evaluate(outline) == "solid", reached
        assert reached[:2] == ["Pause updates", "Overview"]
        assert {"Restart", "Drain", "Shut down", "Lock", "Dismiss"} <= set(reached)
        page.get_by_role("link", name="Log").focus()
        page.keyboard.press("Enter")
        page.get_by_role("log").wait_for()


def test_page_weighs_less_than_100_kb() -> None:
    files = [path.read_bytes() for path in STATIC.iterdir() if path.is_file()]
    assert sum(len(gzip.compress(data)) for data in files) <= 100_000


def test_first_paint_needs_no_data(browser: Browser) -> None:
    with busy() as service:
        page = browser.new_context().new_page()
        page.route("**/events", lambda route: route.abort())
        page.goto(url_of(service))
        script = """() => performance.getEntriesByName("first-contentful-paint")[0]?.startTime"""
        page.wait_for_function(script)
        told = page.evaluate(script)
        page.context.close()
        print(f"first paint after {told:.0f} ms")


class Idle(EventTask):
    """Waits to be asked."""

    def execute(self, context: Any = None) -> None:
        """Do nothing."""


def test_updates_with_50_tasks_cost_little(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted in time of the process, for 20 updates; in a minute there are 60."""
    monkeypatch.setattr(StatusHTTPTask, "TICK", 0.0)
    more = tuple(type(f"Idle{number}", (Idle,), {}) for number in range(50))
    with busy(more=more) as service, urllib.request.urlopen(f"{url_of(service)}events") as stream:
        seen = 0
        for line in stream:
            seen += line.startswith(b"data: {")
            if seen == 3:
                break
        began = time.process_time()
        for line in stream:
            seen += line.startswith(b"data: {")
            if seen == 23:
                break
        taken = (time.process_time() - began) / 20
        print(f"{taken * 1000:.1f} ms of processor time for one update")
        assert taken < 0.2  # 0.02 on a quiet machine: 2 % of one core; far from what would be wrong


@pytest.mark.skipif("PICTURES" not in os.environ, reason="make pictures")
def test_pictures_for_the_docs(browser: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(StatusHTTPTask, "TICK", 0.5)
    PICTURES.mkdir(exist_ok=True)
    with busy(*CONTROL) as service:
        task = service.requireTask("StatusHTTPTask")
        past(task)
        with opened(browser, service, viewport=WIDE) as page:
            unlock(page)
            for view in VIEWS:
                go(page, view)
                if view == "task/Mailer":
                    page.get_by_text("'slow four'").first.wait_for()
                page.wait_for_timeout(800)
                name = view.partition("/")[0]
                page.screenshot(path=PICTURES / f"status-{name}.png")
        look: Any = {"viewport": NARROW, "color_scheme": "dark"}
        with opened(browser, service, **look) as page:
            page.wait_for_timeout(800)
            page.screenshot(path=PICTURES / "status-narrow-dark.png")


def past(task: Any) -> None:
    """Give a service an hour that it had not, for its plots."""
    from math import sin

    mailer, total = task.service.requireTask(Mailer), 0.0
    now = time.time()
    for sample in range(360):
        figures = task.figures()
        total += 400 + 300 * sin(sample / 40) + 90 * sin(sample * 1.7)
        for index, figure in enumerate(figures.figures):
            if figure.name in ("requests", "n_completed", "n_iterations"):
                figures.values[index] = total
            elif figure.name == "queue_depth" and figure.task == mailer.name:
                figures.values[index] = max(0.0, 20 * sin(sample / 25) + 6 * sin(sample))
            elif "duration" in figure.name and not figure.grows:
                figures.values[index] = 4 + 2 * sin(sample / 30) + sin(sample * 2.1)
        task.history.add(now - 3600 + 10 * sample, figures)


@pytest.mark.parametrize("view", VIEWS)
def test_docs_have_a_picture_of_each_view(view: str) -> None:
    path = PICTURES / f"status-{view.partition('/')[0]}.png"
    assert path.stat().st_size < 200_000
