"""How many threads of a thrift server are awake: one for short calls, more for those that last."""

from __future__ import annotations

import threading
from contextlib import ExitStack
from typing import Any

import pytest
from sparts.tasks.thrift import NBServerTask
from sparts.testing.running import ServiceFactory, service_of
from sparts.thrift.processor import Call, Router

from tests.thrift.echo import (
    HERE,
    AsyncHandler,
    EchoHandler,
    InlineHandler,
    ask_text,
    connect,
    read_frame,
    request,
)
from tests.thrift.test_lone_client import slowly
from tests.thrift.test_nbserver import engine_of, texts, wait_until


def test_one_thread_makes_short_calls_of_many_clients(serve: Any) -> None:
    service = serve(EchoHandler)
    crew = engine_of(service)._crew
    with ExitStack() as stack:
        clients = [stack.enter_context(connect(service)) for _ in range(8)]
        for _ in range(20):
            for client in clients:
                client.sendall(request(lambda client: client.send_text("<a>")))
            for client in clients:
                assert texts(client, 1) == ["a"]
        wait_until(lambda: crew._awake == 1)


def test_the_clock_of_calls_stands_still_at_rest(serve: Any) -> None:
    service = serve(EchoHandler)
    crew = engine_of(service)._crew
    with connect(service) as client:
        for _ in range(3):
            ask_text(client, "a")
            wait_until(lambda: not crew._ticking)
            assert not crew._tick.is_set()


@pytest.mark.parametrize("known", [False, True], ids=["unexpected", "expected"])
def test_call_that_lasts_does_not_hold_up_others(known: bool, serve: Any) -> None:
    service = serve(EchoHandler)
    handler = service.requireTask(EchoHandler)
    with ExitStack() as stack:
        clients = [stack.enter_context(connect(service)) for _ in range(6)]
        for _ in range(10):
            handler.go_on.clear()
            handler.processor.methods["slowly"].slow = known
            for client in clients[:3]:
                client.sendall(slowly("<slow>"))
            for client in clients[3:]:
                client.sendall(request(lambda client: client.send_text("<quick>")))
            for client in clients[3:]:
                assert texts(client, 1) == ["quick"]
            handler.go_on.set()
            for client in clients[:3]:
                assert texts(client, 1) == ["slow"]


def test_call_that_lasts_is_expected_to_last_again(serve: Any) -> None:
    service = serve(EchoHandler)
    handler = service.requireTask(EchoHandler)
    method = handler.processor.methods["slowly"]
    with connect(service) as client:
        client.sendall(slowly("<a>"))
        assert handler.entered.acquire(timeout=30)
        wait_until(lambda: engine_of(service)._crew._awake == 2)  # one more than make calls
        handler.go_on.set()
        assert texts(client, 1) == ["a"]
        wait_until(lambda: method.slow)


@pytest.mark.parametrize("handler", [EchoHandler, InlineHandler, AsyncHandler])
def test_others_are_served_while_large_requests_are_decoded(
    handler: type[EchoHandler], service_factory: ServiceFactory
) -> None:
    entered, go_on = threading.Semaphore(0), threading.Event()

    class SlowRouter(Router):
        def read(self, data: bytes, start: int, end: int) -> Call:
            if end - start > 100_000:
                entered.release()
                assert go_on.wait(30)
            return super().read(data, start, end)

    class Server(NBServerTask):
        def make_router(self) -> Router:
            return SlowRouter(super().make_router().methods)

    service = service_factory(service_of(Server, handler), *HERE)
    large = request(lambda client: client.send_text("x" * 100_000))
    with ExitStack() as stack:
        clients = [stack.enter_context(connect(service)) for _ in range(6)]
        for client in clients[:5]:
            client.sendall(large)
        for _ in range(2):  # half of the threads for calls
            assert entered.acquire(timeout=30)
        ask_text(clients[5], "still served")
        go_on.set()
        for client in clients[:5]:
            assert len(read_frame(client)) > 100_000
        ask_text(clients[0], "goes on")
