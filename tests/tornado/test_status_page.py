"""The status page in a real browser: what is seen, live updates, controls, attacks on them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from sparts.context import ExecuteContext
from sparts.counters import counter
from sparts.options import option
from sparts.tasks.periodic import PeriodicTask
from sparts.tasks.tornado.status import StatusHTTPTask
from sparts.testing.running import running, service_of
from sparts.testing.waiting import WAIT
from sparts.vtask import VTask

from tests.browsers import launched, malicious_site
from tests.tornado.status_clients import CONTROL, TOKEN

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.needs("chromium")


class Database(VTask):
    LOOPLESS = True
    OPT_PREFIX = "db"
    password = option(type=str, secret=True)
    fixed = option(type=int, default=1, reloadable=False)


class Mailer(PeriodicTask):
    """Sends when it is told to."""

    INTERVAL = "1h"
    RUN_AT_START = False
    DEPS = [Database]
    OPT_PREFIX = "mailer"
    most = option(type=int, default=20, help="how many mails to send at once")
    sent = counter(help="Mails sent.")

    def __init__(self, service: Any) -> None:
        super().__init__(service)
        self.ran = threading.Event()

    def execute(self, context: ExecuteContext | None = None) -> None:
        self.sent.add(7)
        self.ran.set()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One browser for all tests of this module."""
    with launched() as chromium:
        yield chromium


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let updates come often."""
    monkeypatch.setattr(StatusHTTPTask, "TICK", 0.05)


@contextmanager
def opened(browser: Browser, service: Any, **context: Any) -> Iterator[Page]:
    """Open the page of a service, live; what the browser complains of fails the test."""
    page = browser.new_context(**context).new_page()
    page.set_default_timeout(WAIT * 1000)
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda told: complaints.append(told.text) if told.type == "error" else None)
    try:
        page.goto(url_of(service))
        page.wait_for_selector("#live.on")
        yield page
    finally:
        page.context.close()
    # Answers that are errors are complained of too, and shown by the page: tests look at those.
    assert [each for each in complaints if "Failed to load resource" not in each] == []


def url_of(service: Any) -> str:
    host, port = service.requireTask("StatusHTTPTask").bound_addrs[0]
    return f"http://{host}:{port}/"


@contextmanager
def serving(*argv: str) -> Iterator[Any]:
    cls = service_of("StatusHTTPTask", Mailer, VERSION="4.5")
    with running(cls, "--status-port", "0", *argv) as service:
        yield service


def unlock(page: Page, token: str = TOKEN) -> None:
    page.get_by_label("Token", exact=True).fill(token)
    page.get_by_role("button", name="Unlock").click()


def test_person_sees_state_tasks_graph_counters_options_and_log(
    browser: Browser, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    with serving("--db-password", "hunter2-of-the-database") as service:
        service.setExportedValue("build", "<b>abc</b>")
        with opened(browser, service) as page:
            assert page.get_by_role("heading", level=1).inner_text() == "Service"
            assert page.locator("#state").inner_text() == "ALIVE"
            assert "Version 4.5" in page.locator("#about").inner_text()
            for task in service.tasks:
                assert page.locator(f"[data-task={task.name}] .badge").inner_text() == "ALIVE"
            assert "needs Database" in page.locator("[data-task=Mailer]").inner_text()
            drawing = page.get_by_role("img", name="4 tasks")
            assert "Mailer" in (drawing.text_content() or "")
            assert page.locator(".graph path[marker-end]").count() == 2
            sent = page.locator('[data-counter="Mailer.sent"]')
            assert "Mails sent." in sent.inner_text()
            assert sent.locator("b").inner_text() == "0"
            most = page.locator("[data-option=mailer_most]")
            assert most.locator(".value").inner_text() == "20"
            assert page.locator("[data-option=db_password] .value").inner_text() == "********"
            assert "Server Started on" in page.get_by_role("log").inner_text()
            assert page.locator("#exported-list").inner_text() == "build\n<b>abc</b>"
            assert "hunter2" not in page.content()
            assert page.locator("#controls").is_hidden()
            assert page.get_by_role("button").all_inner_texts() == ["Pause updates"]


def test_page_follows_the_service_while_it_is_open(
    browser: Browser, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    with serving() as service, opened(browser, service) as page:
        mailer = service.requireTask(Mailer)
        mailer.execute_async().result(WAIT)
        page.wait_for_function(
            """() => document.querySelector('[data-counter="Mailer.sent"] b').innerText === '7'"""
        )
        curve = page.locator('[data-counter="Mailer.sent"] .curve')
        page.wait_for_function(
            """() => document.querySelector('[data-counter="Mailer.sent"] .curve')
                .getAttribute('d').includes('L')"""
        )
        assert curve.get_attribute("d", timeout=WAIT * 1000)
        warning = service.registerWarning("The disk is nearly full.")
        page.wait_for_selector("#state.warn")
        assert page.locator("#warnings").inner_text() == "Warnings\nThe disk is nearly full."
        service.clearWarning(warning)
        page.wait_for_selector("#state.good")
        assert page.locator("#warnings").is_hidden()
        mailer.logger.error("<script>alert(1)</script>")
        page.wait_for_function(
            "() => document.getElementById('log').innerText.includes('<script>alert(1)')"
        )
        page.get_by_role("button", name="Pause updates").click()
        assert page.locator("#live").inner_text() == "Paused"


def test_page_comes_back_by_itself_after_a_restart(browser: Browser) -> None:
    with serving() as service, opened(browser, service) as page:
        service.requireTask(Mailer).sent.add(3)
        shown = """n => document.querySelector('[data-counter="Mailer.sent"] b').innerText === n"""
        page.wait_for_function(shown, arg="3")
        service.restart()
        page.wait_for_function(shown, arg="0")
        page.wait_for_selector("#live.on")


def test_controls_act_for_who_has_the_token_and_errors_are_shown(browser: Browser) -> None:
    with serving(*CONTROL) as service, opened(browser, service) as page:
        mailer = service.requireTask(Mailer)
        unlock(page, "wrong")
        page.wait_for_selector("#outcome.problem")
        assert page.locator("#outcome").inner_text().startswith("That is not the token.")
        assert page.get_by_role("button", name="Run Mailer now").count() == 0
        unlock(page)
        page.get_by_role("button", name="Run Mailer now").click()
        assert mailer.ran.wait(WAIT)
        page.get_by_role("button", name="Change --mailer-most").click()
        field = page.get_by_label("New value of --mailer-most")
        field.fill("many")
        field.press("Enter")
        problem = page.get_by_role("alert")
        problem.filter(has_text="expected a whole number, got 'many'").wait_for()
        field.fill("5")
        field.press("Enter")
        page.locator("[data-option=mailer_most] .value", has_text="5").wait_for()
        assert mailer.most == 5
        assert page.get_by_role("button", name="Change --db-fixed").count() == 0
        assert "Fixed while the service runs" in page.locator("[data-option=db_fixed]").inner_text()
        page.get_by_role("button", name="Lock", exact=True).click()
        assert page.get_by_role("button", name="Run Mailer now").count() == 0


def test_shutdown_asks_first_and_then_ends_the_service(browser: Browser) -> None:
    with serving(*CONTROL) as service, opened(browser, service) as page:
        unlock(page)
        page.get_by_role("button", name="Shut down").click()
        page.get_by_role("button", name="Cancel").click()
        assert service.status == "ALIVE"
        page.get_by_role("button", name="Shut down").click()
        page.get_by_role("dialog").get_by_role("button", name="Shut down").click()
        assert service.join(WAIT)
        page.wait_for_selector("#live.off")


ATTACK = """<!doctype html><title>Win a prize</title><form id=f method=post enctype=text/plain>
<input name='{"task": "Mailer", "x": "' value='"}'></form><iframe id=i></iframe>"""


TRIES = """async ([url, token]) => {
  const headers = {"Content-Type": "application/json", "X-Sparts-Control": "1"};
  const body = JSON.stringify({task: "Mailer"});
  const bearer = {...headers, Authorization: `Bearer ${token}`};
  const found = [];
  for (const [how, init] of Object.entries({
    headers: {method: "POST", headers, body},
    "right token": {method: "POST", headers: bearer, body},
    simple: {method: "POST", body, mode: "no-cors"},
    credentials: {method: "POST", body, mode: "no-cors", credentials: "include"},
  })) {
    try { found.push(`${how}: ${(await fetch(url + "control/run", init)).type}`); }
    catch { found.push(`${how}: blocked`); }
  }
  try { found.push(`reading: ${(await fetch(url + "status.json")).type}`); }
  catch { found.push("reading: blocked"); }
  return found;
}"""


def test_page_of_another_origin_can_neither_act_nor_read(
    browser: Browser, caplog: pytest.LogCaptureFixture
) -> None:
    with serving(*CONTROL) as service, malicious_site(ATTACK) as site:
        page = browser.new_context().new_page()
        page.goto(site)
        url = url_of(service)
        tries = page.evaluate(TRIES, [url, TOKEN])
        assert len(tries) == 5
        assert [each for each in tries if not each.endswith(": blocked")] == []
        arrived = caplog.text.count("Refused /control/run from 127.0.0.1: Refused: it comes from")
        assert arrived == 2  # what a browser sends without asking first
        with page.expect_navigation() as sent:
            page.evaluate("url => { f.action = url; f.submit(); }", f"{url}control/run")
        assert sent.value.status == 403
        page.goto(site)
        with page.expect_response(url):
            page.evaluate("url => { i.src = url; }", url)
        frame = page.frames[1]
        frame.wait_for_load_state()
        assert frame.locator("#name").count() == 0  # the page lets nobody frame it
        page.context.close()
        assert not service.requireTask(Mailer).ran.is_set()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_page_fits_a_telephone_can_be_used_by_keyboard_and_has_contrast(
    browser: Browser, scheme: Any
) -> None:
    size = {"width": 360, "height": 640}
    with serving(*CONTROL) as service:
        service.registerWarning("w" * 200)
        service.setExportedValue("long", "x" * 200)
        with opened(
            browser, service, viewport=size, color_scheme=scheme, reduced_motion="reduce"
        ) as page:
            unlock(page)
            page.get_by_role("button", name="Run Mailer now").wait_for()
            assert page.evaluate("document.documentElement.scrollWidth") == 360
            page.locator("a.skip").focus()
            reached: list[str] = []
            for _ in range(8):
                page.keyboard.press("Tab")
                reached.append(page.evaluate("document.activeElement.innerText"))
                outline = "getComputedStyle(document.activeElement).outlineStyle"
                assert page.evaluate(outline) == "solid", reached
            assert reached[0] == "Pause updates"
            assert {"Restart", "Shut down", "Lock", "Run now"} <= set(reached)
            assert page.evaluate(LOW_CONTRAST) == []
            assert page.evaluate("document.getAnimations().length") == 0
            assert page.locator("[aria-live], [role=status]").count() == 4


# Every text that is shown, with less contrast than WCAG 2.2 AA asks for.
LOW_CONTRAST = """() => {
  const parse = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((c) => c / 255)
    .map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const back = (node) => {
    for (let at = node; at; at = at.parentElement) {
      const colour = parse(getComputedStyle(at).backgroundColor);
      if (colour[3] !== 0) return colour;
    }
    return [255, 255, 255];
  };
  const found = [];
  for (const node of document.querySelectorAll("body *:not(svg *)")) {
    const own = [...node.childNodes].some((each) => each.nodeType === 3 && each.data.trim());
    if (!own || !node.checkVisibility()) continue;
    const colours = [parse(getComputedStyle(node).color), back(node)];
    const [a, b] = colours.map(light).sort((x, y) => y - x);
    if ((a + 0.05) / (b + 0.05) < 4.5) found.push(`${node.className}: ${node.innerText}`);
  }
  return found;
}"""
