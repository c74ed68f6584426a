"""What keeps open pages up to date: while they are open, and no longer."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from sparts.counters import CallbackCounter, counter
from sparts.tasks.tornado.status import StatusHTTPTask, feed
from sparts.tasks.tornado.status.page import describe_page
from sparts.testing.waiting import WAIT
from sparts.vtask import VTask

from tests.tornado.status_clients import Client, Stream, client_of, serving


class Mailer(VTask):
    LOOPLESS = True
    OPT_PREFIX = "mail"
    sent = counter(help="Mails sent.")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let updates come often."""
    monkeypatch.setattr(StatusHTTPTask, "TICK", 0.02)


@pytest.fixture
def service() -> Iterator[Any]:
    with serving(Mailer) as service:
        yield service


def test_first_event_has_all_and_others_changes(service: Any) -> None:
    stream = Stream(client_of(service))
    assert stream.answer.getheader("Content-Type") == "text/event-stream; charset=utf-8"
    assert stream.next("guard") == ""
    first = stream.next()
    assert {"service", "tasks", "options", "counters", "values", "warnings", "history"} <= set(
        first
    )
    assert first["service"]["status"] == "ALIVE"
    while len(found := stream.next()) > 1:
        pass
    assert set(found) == {"now"}
    service.requireTask(Mailer).sent.add(5)
    while "values" not in (found := stream.next()):
        pass
    assert "options" not in found
    names = [(each["task"], each["name"]) for each in first["counters"]]
    assert found["values"][names.index(("Mailer", "sent"))] == 5
    service.registerWarning("disk is nearly full")
    while "warnings" not in (found := stream.next()):
        pass
    assert [each["text"] for each in found["warnings"]] == ["disk is nearly full"]
    assert found["service"]["status"] == "WARNING"
    stream.close()


def test_update_reads_each_counter_once() -> None:
    readers: list[int] = []

    def read() -> float:
        readers.append(threading.get_ident())
        return 1.0

    class Counted(VTask):
        LOOPLESS = True
        number = CallbackCounter(read)

    with serving(Counted) as service:
        describe_page(service.requireTask(StatusHTTPTask))
        assert readers.count(threading.get_ident()) == 1


def test_log_lines_come_once_and_secrets_stay_out(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    with serving(Mailer, argv=("--status-token", "hunter2-the-token")) as service:
        stream = Stream(client_of(service))
        first = stream.next("log")
        assert "Server Started on" in "".join(line["text"] for line in first)
        service.requireTask(Mailer).logger.error("it is hunter2-the-token")
        (line,) = stream.next("log")
        assert line["text"] == "it is ********"
        assert (line["level"], line["logger"]) == ("ERROR", "Service.Mailer")
        stream.close()


def test_page_that_opens_gets_the_last_hour(service: Any) -> None:
    task = service.requireTask("StatusHTTPTask")
    task.history.add(time.time(), task.figures())
    stream = Stream(client_of(service))
    found = stream.next()
    keys = {each["key"] for each in found["tasks"]} - {""}
    assert len(found["history"]["times"]) >= 2
    assert set(found["history"]["rows"]) - {"throughput", "latency", "errors"} <= keys
    assert "Mailer/sent/" in found["history"]["rows"]
    assert all(
        len(row) == len(found["history"]["times"]) for row in found["history"]["rows"].values()
    )
    stream.close()


def test_stop_ends_unread_streams_at_once(caplog: pytest.LogCaptureFixture) -> None:
    with serving(Mailer) as service:
        task = service.requireTask("StatusHTTPTask")
        stream = Stream(client_of(service))
        stream.next()
        lazy = socket.create_connection(task.bound_addrs[0])
        lazy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        lazy.sendall(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        for number in range(500):  # so much that it does not fit into what the system buffers
            service.setExportedValue(f"{number}", "x" * 20000)
        loop = service.requireTask("TornadoIOLoopTask")
        while not loop.call(lambda: any(page._busy for page in task.feed._pages)).result(WAIT):
            stream.next()
    while stream.next() is not None:
        pass
    stream.close()
    lazy.close()
    assert "cut off" not in caplog.text


def test_more_pages_than_there_may_be_are_refused(
    service: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "WATCHERS", 1)
    stream = Stream(client_of(service))
    stream.next()
    answer = client_of(service).ask("/events")
    assert (answer.status, answer.text) == (503, "As many pages are open as there may be: 1.\n")
    stream.close()


def test_stream_goes_on_after_service_could_not_tell(
    service: Any, caplog: pytest.LogCaptureFixture
) -> None:
    fails = [True]

    def describe() -> Any:
        if fails:
            fails.clear()
            raise OSError("not now")
        return type(service.stats).describe_state(service.stats)

    service.stats.describe_state = describe
    stream = Stream(client_of(service))
    assert stream.next()["service"]["name"] == "Service"
    assert "could not be brought up to date: OSError: not now" in caplog.text
    stream.close()


def test_head_is_answered_without_a_stream(service: Any) -> None:
    client: Client = client_of(service)
    assert client.ask("/events", "HEAD").status == 200
