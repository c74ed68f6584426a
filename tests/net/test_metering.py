"""Metering: what every server does with its requests."""

from __future__ import annotations

import logging
import threading
from time import perf_counter
from typing import Any

import pytest
from sparts.counters import SampleType, samples
from sparts.logs import log_fields
from sparts.net.metering import LOST, Metered, RequestFields, request_id
from sparts.testing import TurnableClock, log_of, running, running_task, service_of
from sparts.vtask import VTask

from tests.threads import in_threads


class Metering(Metered, VTask):
    """Meters what a test says that it serves."""

    OPT_PREFIX = "metering"
    LOOPLESS = True


def serve(task: Metering, outcome: int) -> None:
    """Serve one request from its begin to its end."""
    task.meter.begin()
    task.meter.end(outcome, perf_counter())


def log(task: Metering, outcome: int, path: str = "/a", fields: Any = None) -> None:
    if task.meter.logs(outcome):
        task.meter.log(outcome, 503, "GET", path, "192.0.2.1", 0.25, fields or {"request_id": "x"})


def test_requests_are_counted_by_outcome_and_in_flight() -> None:
    with running_task(Metering) as task:
        for outcome in (2, 2, 5, LOST):
            serve(task, outcome)
        task.meter.begin()
        read = task.service.getCounter
        assert read("Metering.requests") == 5
        assert read("Metering.in_flight") == 1
        assert read('Metering.responses{status="2xx"}') == 2
        assert read('Metering.responses{status="5xx"}') == 1
        assert read('Metering.responses{status="lost"}') == 1
        assert read('Metering.responses{status="4xx"}') == 0


@pytest.mark.parametrize("reset", [("requests",), ("responses",), ("requests", "responses")])
def test_reset_leaves_what_is_in_flight(reset: tuple[str, ...]) -> None:
    with running_task(Metering) as task:
        began = perf_counter()
        serve(task, 2)
        for _ in range(3):
            task.meter.begin()
        task.meter.end(2, began)
        for name in reset:
            getattr(task, name).reset()
        assert task.in_flight() == 2
        task.meter.begin()
        assert task.in_flight() == 3
        for left in (2, 1, 0):
            task.meter.end(5, began)
            assert task.in_flight() == left
        assert task.requests() == (1 if "requests" in reset else 5)
        assert task.responses.labels("2xx")() == (0 if "responses" in reset else 2)
        task.requests.reset(7)
        assert (task.requests(), task.in_flight()) == (7, 0)


@pytest.mark.parametrize("number", [1, 256, 1000])
def test_every_duration_is_read_at_once(number: int) -> None:
    with running_task(Metering) as task:
        for _ in range(number):
            serve(task, 2)
        assert task.service.getCounter("Metering.request_duration_ms.count.60") == number
        assert task.request_duration_ms.totals()[0] == number


def test_readers_in_threads_lose_no_duration() -> None:
    with running_task(Metering) as task:
        ended = threading.Event()

        def read() -> None:
            while not ended.is_set():
                task.request_duration_ms.totals()

        with in_threads(read, read, read):
            for _ in range(5000):
                serve(task, 2)
            ended.set()
        assert task.request_duration_ms.totals()[0] == 5000


def test_readers_in_threads_change_no_count() -> None:
    with running_task(Metering) as task:
        ended, begin = threading.Event(), task.meter.begin

        def read() -> None:
            while not ended.is_set():
                task.requests()

        def count() -> None:
            for _ in range(5000):
                begin()

        with in_threads(read, read):
            with in_threads(count, count):
                pass
            ended.set()
        assert task.requests() == task.requests() == task.in_flight() == 10_000


def test_requests_may_be_added_many_at_once() -> None:
    with running_task(Metering) as task:
        task.requests.increment()
        task.requests.add(3)
        assert task.requests() == 4


def test_collected_values_count_in_their_own_second() -> None:
    from array import array

    clock = TurnableClock()
    counted = samples(types=[SampleType.COUNT], windows=[5], clock=clock)
    counted.add_many(array("d"))
    clock.turn(3)
    counted.add_many(array("d", [1.0, 2.0]))  # of the second of the call before
    assert counted() == 2
    clock.turn(2.5)
    assert counted() == 0


@pytest.mark.parametrize(
    ("level", "logged"),
    [("INFO", [2, 4, 5]), ("WARNING", [4, 5]), ("ERROR", [5]), ("OFF", [])],
)
def test_access_log_option_chooses_what_is_logged(level: str, logged: list[int]) -> None:
    with running_task(Metering, "--metering-access-log", level) as task:
        with log_of(task.service, level=logging.DEBUG) as lines:
            for outcome in (2, 4, 5):
                log(task, outcome, f"/{outcome}")
            found = [int(line.split("GET /")[1][0]) for line in lines.items if "GET /" in line]
        assert found == logged


def test_access_log_line_has_an_id() -> None:
    with running(service_of(Metering)) as service, log_of(service) as lines:
        log(service.requireTask(Metering), 5, "/a\nb")
        lines.wait_for_line(r"ERROR:Service.Metering.access:503 GET /a\\nb \(192.0.2.1\) 250.00 ms")


def test_fields_of_a_request_make_its_id_once() -> None:
    fields = RequestFields([(b"host", b"x")])
    assert dict(fields) == {"request_id": fields.request_id}
    assert RequestFields([(b"x-request-id", b"given")])["request_id"] == "given"
    with pytest.raises(KeyError):
        fields["other"]


def test_request_id_is_the_one_of_the_context() -> None:
    assert request_id() == ""
    token = log_fields.set(RequestFields([(b"x-request-id", b"mine")]))
    try:
        assert request_id() == "mine"
    finally:
        log_fields.reset(token)
