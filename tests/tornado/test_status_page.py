"""The status page in a real browser: what is seen, live updates, controls, attacks on them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from sparts.tasks.tornado.status import StatusHTTPTask
from sparts.testing.waiting import WAIT

from tests.browsers import malicious_site
from tests.tornado.page_services import Database, Mailer, Report, busy
from tests.tornado.status_clients import CONTROL, TOKEN

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.needs("chromium")


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


def go(page: Page, view: str) -> None:
    """Show another view."""
    page.evaluate("view => { location.hash = view; }", view)
    page.wait_for_selector(f"#view[data-view={view.partition('/')[0]}]")


def unlock(page: Page, token: str = TOKEN) -> None:
    page.get_by_label("Token", exact=True).fill(token)
    page.get_by_role("button", name="Unlock").click()


def test_views_show_state_tasks_options_log_and_graph(
    browser: Browser, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    with busy("--db-password", "hunter2-of-the-database") as service:
        service.setExportedValue("build", "<b>abc</b>")
        with opened(browser, service) as page:
            assert page.get_by_role("heading", level=1).inner_text() == "Service"
            assert page.locator("#state").inner_text() == "WARNING"
            assert page.locator("#ready").inner_text() == "ready"
            assert "version 4.5" in page.locator("#about").inner_text()
            for task in service.tasks:
                assert page.locator(f"[data-task={task.name}] .badge").inner_text() == "ALIVE"
            assert page.locator("#exported-list").inner_text() == "build\n<b>abc</b>"
            go(page, "graph")
            drawing = page.get_by_role("img", name="Tasks: 7")
            assert "Mailer" in (drawing.text_content() or "")
            assert page.locator(".graph path[marker-end]").count() == 3
            go(page, "options")
            assert page.locator("[data-option=mailer_most] .value").inner_text() == "20"
            assert page.locator("[data-option=db_password] .value").inner_text() == "********"
            page.get_by_label("Search").fill("mailer-most")
            page.wait_for_function("() => document.querySelectorAll('[data-option]').length === 1")
            go(page, "log")
            assert "Server Started on" in page.get_by_role("log").inner_text()
            page.get_by_label("Task").select_option("Mailer")
            shown = page.get_by_role("log").inner_text()
            assert "Gave up 'bad three'" in shown
            assert "Server Started on" not in shown
            go(page, "stacks")
            page.locator("#stacks-list details:not([open])").first.wait_for()
            assert "Service.Mailer" in page.locator("#stacks-list").inner_text()
            go(page, "plugins")
            assert "database" in page.locator("#checks-list").inner_text()
            assert "hunter2" not in page.content()
            assert page.locator("#controls").is_hidden()


def test_wrong_address_shows_that_there_is_nothing(browser: Browser) -> None:
    with busy() as service, opened(browser, service) as page:
        for view in ("task/%E0%A4%A", "task/Nobody"):
            go(page, view)
            page.locator("#task-problem", has_text="No task is named").wait_for()
        page.evaluate("location.hash = '%'")
        page.wait_for_selector("#view[data-view=overview]")


def test_first_screen_needs_no_scrolling(browser: Browser) -> None:
    with busy() as service:
        service.registerWarning("The disk is nearly full.")
        service.requireTask(Database).up = False
        with opened(browser, service, viewport={"width": 1280, "height": 800}) as page:
            page.get_by_text("database: ConnectionError: refused (since").wait_for()
            assert page.locator("#ready").inner_text() == "not ready"
            assert page.locator("#state").inner_text() == "WARNING"
            assert page.evaluate("document.documentElement.scrollHeight") == 800
            for name in ("throughput", "latency", "errors"):
                assert page.locator(f"[data-figure={name}]").is_visible()


def test_view_of_queue_shows_items_and_dead_letters(browser: Browser) -> None:
    with busy(*CONTROL) as service, opened(browser, service) as page:
        mailer = service.requireTask(Mailer)
        unlock(page)
        page.get_by_role("link", name="Mailer").click()
        page.get_by_text("'slow four'").wait_for()
        assert "'six'" in page.locator("[data-panel='Waiting items (a sample)']").inner_text()
        letter = page.locator("#letters-list li")
        assert "'bad three'" in letter.inner_text()
        letter.get_by_role("button", name="Discard").click()
        page.locator("#letters-list", has_text="None.").wait_for()
        page.get_by_role("button", name="Pause: Mailer").click()
        page.locator("#task-state", has_text="PAUSED").wait_for()
        mailer.may_end.set()
        page.get_by_role("button", name="Resume: Mailer").click()
        page.wait_for_function(
            """() => document.querySelector('[data-counter="Mailer.sent"] b').innerText === '6'"""
        )
        page.get_by_role("button", name="Restart: Mailer").click()
        page.get_by_role("dialog").get_by_role("button", name="Restart").click()
        page.locator("#outcome", has_text="Restarted: Mailer.").wait_for()
        assert service.requireTask(Mailer) is not mailer


def test_view_of_a_task_shows_its_last_errors(browser: Browser) -> None:
    with busy() as service, opened(browser, service) as page:
        go(page, "task/Fragile")
        page.locator("#errors-list summary", has_text="OSError: the first time").click()
        page.get_by_text("in _run_once").first.wait_for()
        go(page, "task/Report")
        page.get_by_text("Next run").wait_for()


def test_page_follows_the_service_while_it_is_open(
    browser: Browser, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    with busy(*CONTROL) as service, opened(browser, service) as page:
        unlock(page)
        warning = service.registerWarning("The disk is nearly full.")
        row = page.locator("#warnings-list li", has_text="The disk is nearly full.")
        row.get_by_role("button", name="Dismiss").click()
        row.wait_for(state="detached")
        assert warning not in service.getWarnings()
        service.requireTask(Mailer).logger.error("<script>alert(1)</script>")
        go(page, "log")
        page.wait_for_function(
            "() => document.getElementById('log').innerText.includes('<script>alert(1)')"
        )
        page.get_by_role("button", name="Pause updates").click()
        assert page.locator("#live").inner_text() == "Paused"


def test_page_shows_the_last_hour_at_once(browser: Browser) -> None:
    with busy() as service:
        history = service.requireTask("StatusHTTPTask").history
        for ago in range(3600, 0, -10):
            history.add(time.time() - ago, service.requireTask("StatusHTTPTask").figures())
        with opened(browser, service) as page:
            curve = "[data-task=Mailer] .curve"
            found = page.locator(curve).get_attribute("d") or ""
            assert found.count("L") > 300


def test_page_comes_back_by_itself_after_a_restart(browser: Browser) -> None:
    with busy() as service, opened(browser, service) as page:
        before = page.locator("#about").inner_text()
        service.requireTask(Mailer).may_end.set()
        service.restart()
        page.wait_for_function(
            "text => document.querySelector('[data-task]') && "
            "document.getElementById('about').innerText.split('since')[1] !== text",
            arg=before.split("since")[1],
        )
        page.wait_for_selector("#live.on")


def test_controls_need_the_token_and_show_errors(browser: Browser) -> None:
    with busy(*CONTROL) as service, opened(browser, service) as page:
        report, mailer = service.requireTask(Report), service.requireTask(Mailer)
        go(page, "task/Report")
        page.get_by_text("Next run").wait_for()
        unlock(page, "wrong")
        page.wait_for_selector("#outcome.problem")
        assert page.locator("#outcome").inner_text().startswith("That is not the token.")
        assert page.get_by_role("button", name="Run now: Report").count() == 0
        unlock(page)
        page.get_by_role("button", name="Run now: Report").click()
        assert report.ran.wait(WAIT)
        go(page, "task/Mailer")
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
        go(page, "options")
        assert page.get_by_role("button", name="Change --db-fixed").count() == 0
        assert "Fixed while the service runs" in page.locator("[data-option=db_fixed]").inner_text()
        page.get_by_role("button", name="Lock", exact=True).click()
        assert page.get_by_role("button", name="Change --mailer-most").count() == 0


def test_shutdown_asks_first_and_then_ends_the_service(browser: Browser) -> None:
    with busy(*CONTROL) as service, opened(browser, service) as page:
        service.requireTask(Mailer).may_end.set()
        unlock(page)
        page.get_by_role("button", name="Shut down").click()
        page.get_by_role("button", name="Cancel").click()
        assert service.status == "WARNING"
        page.get_by_role("button", name="Shut down").click()
        page.get_by_role("dialog").get_by_role("button", name="Shut down").click()
        assert service.join(WAIT)
        page.wait_for_selector("#live.off")


ATTACK = """<!doctype html><title>Win a prize</title><form id=f method=post enctype=text/plain>
<input name='{"task": "Report", "x": "' value='"}'></form><iframe id=i></iframe>"""


TRIES = """async ([url, token]) => {
  const headers = {"Content-Type": "application/json", "X-Sparts-Control": "1"};
  const body = JSON.stringify({task: "Report"});
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


def test_other_origin_can_neither_act_nor_read(
    browser: Browser, caplog: pytest.LogCaptureFixture
) -> None:
    with busy(*CONTROL) as service, malicious_site(ATTACK) as site:
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
        assert not service.requireTask(Report).ran.is_set()
