"""The last hour of every number: what is kept, and how much memory that takes."""

from __future__ import annotations

import tracemalloc

from sparts.counters import Reading
from sparts.tasks.tornado.status.figures import Figures
from sparts.tasks.tornado.status.history import SAMPLES, SERIES, History


def figures_of(*values: tuple[str, str, float]) -> Figures:
    """Give the numbers of one task: name, kind and value of each."""
    readings = [("Task", Reading(name, kind, "", "", {}, value)) for name, kind, value in values]
    return Figures(readings, "StatusHTTPTask")


def test_history_keeps_values_and_the_growth_of_counters() -> None:
    history = History()
    for second, total in ((0.0, 5.0), (10.0, 25.0), (20.0, 3.0)):
        history.add(second, figures_of(("depth", "gauge", total), ("requests", "counter", total)))
    told = history.told(["Task/depth/", "Task/requests/", "throughput", "nothing"])
    assert told["times"] == [0.0, 10.0, 20.0]
    assert told["rows"] == {
        "Task/depth/": [5, 25, 3],
        "Task/requests/": [None, 2, None],  # it was reset
        "throughput": [None, 2, None],
    }


def test_number_that_comes_later_or_goes_leaves_gap() -> None:
    history = History()
    history.add(0.0, figures_of(("a", "gauge", 1.0)))
    history.add(10.0, figures_of(("a", "gauge", 2.0), ("b", "gauge", float("nan"))))
    history.add(20.0, figures_of(("b", "gauge", 3.0)))
    told = history.told(["Task/a/", "Task/b/"])
    assert told["rows"] == {"Task/b/": [None, None, 3]}


def test_memory_of_the_history_is_bounded() -> None:
    many = figures_of(*((f"n{number}", "gauge", 1e6) for number in range(SERIES + 500)))
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    history = History()
    for sample in range(SAMPLES + 10):
        history.add(10.0 * sample, many)
    taken = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert taken < 2 * 1024 * 1024
    assert len(history.told([])["times"]) == SAMPLES
    (row,) = history.told(["Task/n1/"])["rows"].values()
    assert row == [1_000_000] * SAMPLES


def test_headline_says_which_numbers_tell_most() -> None:
    readings = [
        ("Web", Reading("requests", "counter", "", "", {}, 1.0)),
        ("Web", Reading("responses", "counter", "", "", {"status": "5xx"}, 1.0)),
        ("Web", Reading("responses", "counter", "", "", {"status": "2xx"}, 1.0)),
        ("Web", Reading("request_duration_ms", "summary", "", "ms",
                        {"type": "p99", "window": "60"}, 1.0)),
        ("Status", Reading("requests", "counter", "", "", {}, 9.0)),
    ]  # fmt: skip
    found = Figures(readings, "Status")
    assert found.headline == {
        "throughput": ["Web/requests/"],
        "latency": ["Web/request_duration_ms/p99 of 60 s"],
        "errors": ['Web/responses {status="5xx"}/'],
    }
    assert found.keys == {"Web": "Web/requests/", "Status": "Status/requests/"}
