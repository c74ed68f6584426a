"""The page of RPC over HTTP in a real browser, and a page of another site that calls."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.browsers import malicious_site
from tests.rpc.conftest import Web
from tests.rpc.geo import Geo

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = [pytest.mark.needs("chromium"), pytest.mark.one_python]


def test_page_calls_a_method_and_shows_the_result(web: Web, browser: Browser) -> None:
    page = browser.new_page()
    problems: list[str] = []
    page.on("console", lambda message: problems.append(message.text))
    page.goto(web.url)
    section = page.locator("section[id='Geo.half']")
    section.locator("textarea").fill('{"n": 9}')
    section.locator("button").click()
    output = section.locator("output")
    page.wait_for_function("e => e.textContent.length > 1 || e.textContent === '4'",
                           arg=output.element_handle())  # fmt: skip
    assert output.inner_text() == "4"
    assert problems == []
    section.locator("textarea").fill('{"n": "x"}')
    section.locator("button").click()
    page.wait_for_function("e => e.className === 'error'", arg=output.element_handle())
    assert "n: expected int, got str" in output.inner_text()
    page.close()


CALL = """async ([url, type]) => {
  const body = type === null ? undefined : JSON.stringify({n: 8});
  const headers = type ? {"Content-Type": type} : {};
  try { return (await fetch(url, {method: body ? "POST" : "GET", body, headers})).status; }
  catch (error) { return String(error); }
}"""
NO_CORS = """async (url) => {
  await fetch(url, {mode: "no-cors", method: "POST", body: JSON.stringify({n: 8})});
  await fetch(url + "?n=8", {mode: "no-cors"});
}"""


def test_page_of_another_site_reaches_no_method(web: Web, browser: Browser) -> None:
    def calls() -> Any:
        return web.service.requireTask(Geo).n_calls.labels("half")()

    before = calls()
    with malicious_site() as site:
        page = browser.new_page()
        page.goto(site)
        for argument in ("application/json", "text/plain", ""):
            found = page.evaluate(CALL, [f"{web.url}/Geo/half", argument])
            assert "Failed to fetch" in str(found)
        page.evaluate(NO_CORS, f"{web.url}/Geo/half")
        page.close()
    assert calls() == before
