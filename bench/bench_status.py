"""The status page: its weight, its first paint in Chromium, and what an open page costs.

Chromium is Debian's package of that name.
"""

from __future__ import annotations

import gzip
import shutil
import sys
import time
import urllib.request
from functools import partial
from pathlib import Path

from playwright.sync_api import Browser
from sparts.tasks.tornado.status.handlers import STATIC

from bench.bench_http import processor_seconds
from bench.harness import Report, interleave
from bench.processes import Contender
from tests.browsers import launched

SCRIPT = Path(__file__).parent / "status" / "watched.py"
UPDATES = 20
"""How many updates one round takes; there is one a second."""
PAINT = """() => performance.getEntriesByName("first-contentful-paint")[0]?.startTime"""


def weight() -> float:
    """Return the kilobytes of all files of the page, compressed."""
    return sum(len(gzip.compress(path.read_bytes())) for path in STATIC.iterdir()) / 1000


def first_paint(browser: Browser, address: str) -> float:
    """Return the milliseconds until a browser with an empty cache has drawn something."""
    with browser.new_context() as context:
        page = context.new_page()
        page.goto(address)
        return float(page.wait_for_function(PAINT).json_value())


def cost(pid: int, address: str) -> float:
    """Return the processor time of the service while a page is open, in percent of one core."""
    with urllib.request.urlopen(f"{address}events") as stream:
        _updates(stream, 1)  # the first has everything
        spent, began = processor_seconds(pid), time.monotonic()
        _updates(stream, UPDATES)
        spent = processor_seconds(pid) - spent
        return 100 * spent / (time.monotonic() - began)


def _updates(stream: object, number: int) -> None:
    for line in stream:  # type: ignore[attr-defined]
        number -= line.startswith(b"data: {")
        if not number:
            return


def main() -> None:
    """Measure, round by round."""
    with Report("status", packages=["sparts-tornado", "tornado", "playwright"]) as report:
        report.value("the page, compressed", [weight()], at_most=100, unit="kB")
        with Contender(SCRIPT) as contender:
            address = f"http://127.0.0.1:{contender.read_stamp('port')}/"
            contender.read_stamp("ready")
            with launched() as browser:
                paint = {"paint": partial(first_paint, browser, address)}
                found = interleave(paint, rounds=9)["paint"]
            report.value(
                "first paint, 50 tasks", found, at_most=300, unit="ms", note="Chromium, no cache"
            )
            spent = {"cost": partial(cost, contender.process.pid, address)}
            report.value(
                "processor time of the service while a page is open, 50 tasks",
                interleave(spent, rounds=3, warmup=0)["cost"],
                at_most=2,
                unit="% of one core",
                note=f"{UPDATES} updates, one a second",
            )


if __name__ == "__main__":
    if shutil.which("chromium") is None:
        sys.exit("chromium is missing. Install it: apt-get install chromium")
    main()
