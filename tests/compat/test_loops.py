"""Tasks on Tornado's and Twisted's loops, as services of sparts 0.7 write them."""

from __future__ import annotations

import threading
import urllib.request
from concurrent.futures import Future
from typing import Any

import pytest
from sparts.tasks.tornado import TornadoHTTPTask, TornadoTask
from sparts.tasks.twisted import TwistedTask
from sparts.testing import ServiceFactory, make_service, service_of
from sparts.vtask import VTask
from tornado.ioloop import IOLoop
from tornado.web import RequestHandler

HERE = ("--http-host", "127.0.0.1", "--http-port", "0")


def url_of(task: Any) -> str:
    return f"http://127.0.0.1:{task.bound_addrs[0][1]}/"


@pytest.mark.parametrize("base", [TornadoTask, TwistedTask])
def test_loop_bound_task_runs_its_own_loop(
    base: type[VTask], service_factory: ServiceFactory
) -> None:
    ran: Future[tuple[bool, threading.Thread]] = Future()

    class Works(base):  # type: ignore[misc, valid-type]
        def initTask(self) -> None:  # noqa: N802
            super().initTask()
            self.ended = False

        def _runloop(self) -> None:
            ran.set_result((self.running, threading.current_thread()))
            self.stop_event.wait()
            self.ended = True

    service = service_factory(service_of(Works))
    task = service.requireTask(Works)
    running, thread = ran.result(30)
    assert running
    assert thread in task.threads
    service_factory.stop(service)
    assert task.ended


def test_loopless_task_on_a_loop_has_no_thread(service_factory: ServiceFactory) -> None:
    class Quiet(TornadoTask):
        LOOPLESS = True

        def _runloop(self) -> None:
            raise AssertionError("called")

    class Plain(TornadoTask):
        pass

    service = service_factory(service_of(Quiet, Plain))
    assert [service.requireTask(cls).threads for cls in (Quiet, Plain)] == [[], []]


def test_failure_of_its_own_loop_ends_the_service() -> None:
    class Fails(TornadoTask):
        def _runloop(self) -> None:
            raise RuntimeError("no more")

    with pytest.raises(Exception, match="Fails failed: RuntimeError: no more"):
        make_service(service_of(Fails)).startBG().join()


def test_each_response_is_told_to_the_task(service_factory: ServiceFactory) -> None:
    told: Future[tuple[int, str]] = Future()

    class Serves(TornadoHTTPTask):
        def tornadoRequestLog(self, handler: RequestHandler) -> None:  # noqa: N802
            super().tornadoRequestLog(handler)
            told.set_result((handler.get_status(), handler.request.path))

    service = service_factory(service_of(Serves), *HERE)
    task = service.requireTask(Serves)
    with urllib.request.urlopen(url_of(task)) as answer:
        assert answer.read() == b"Hello, world"
    assert told.result(30) == (200, "/")
    assert task.requests() == 1


def test_log_of_requests_that_raises_is_logged(
    service_factory: ServiceFactory, caplog: pytest.LogCaptureFixture
) -> None:
    failed: Future[None] = Future()

    class Serves(TornadoHTTPTask):
        def tornadoRequestLog(self, handler: RequestHandler) -> None:  # noqa: N802
            self.ioloop.add_callback(failed.set_result, None)
            raise RuntimeError("cannot log")

    service = service_factory(service_of(Serves), *HERE)
    with urllib.request.urlopen(url_of(service.requireTask(Serves))) as answer:
        assert answer.status == 200
    failed.result(30)
    assert "Serves.tornadoRequestLog failed" in caplog.text


def test_ioloop_instance_in_a_callback_is_the_loop(service_factory: ServiceFactory) -> None:
    found: Future[Any] = Future()

    class Asks(TornadoTask):
        def start(self) -> None:
            super().start()
            self.ioloop.add_callback(lambda: found.set_result(IOLoop.instance()))

    service = service_factory(service_of(Asks))
    assert found.result(30) is service.requireTask(Asks).ioloop
