"""NBServerTask: whom it serves, in which order, within which limits, and how it ends."""

from __future__ import annotations

import asyncio
import re
import socket
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import pytest
from sparts.errors import OptionError, StartError
from sparts.tasks.thrift import NBServerTask, ThriftHandlerTask
from sparts.tasks.thrift.connection import Connection
from sparts.tasks.thrift.engine import Engine
from sparts.tasks.thrift.nbserver import LONGEST_FRAME
from sparts.testing.running import ServiceFactory, running, service_of
from sparts.testing.waiting import log_of
from sparts.vservice import VService
from thrift.Thrift import TApplicationException

from tests.thrift.echo import (
    HERE,
    AsyncHandler,
    Echo,
    EchoHandler,
    InlineHandler,
    Other,
    OtherHandler,
    apache_client,
    ask_text,
    connect,
    interop,
    read_frame,
    request,
)

HANDLERS = [EchoHandler, InlineHandler, AsyncHandler]


class Multiplexed(NBServerTask):
    """Serves all handlers."""

    MULTIPLEX = True


def wait_until(true: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def engine_of(service: VService) -> Engine:
    engine: Engine | None = service.requireTask(NBServerTask)._engine
    assert engine is not None
    return engine


def connections_of(service: VService) -> list[Connection]:
    return list(engine_of(service).connections.values())


def start_error(*tasks: Any) -> str:
    with pytest.raises(StartError) as failed, running(service_of(*tasks), *HERE):
        pass
    return str(failed.value)


def texts(connection: socket.socket, count: int) -> list[str]:
    """Read the answers to so many calls, and give what stands in angle brackets in each."""
    found = [re.search(rb"<(.*)>", read_frame(connection)) for _ in range(count)]
    return [match[1].decode() for match in found if match is not None]


# -- whom it serves --------------------------------------------------------------------------------


def test_only_handler_is_served_after_it_has_started() -> None:
    order: list[str] = []

    class Handler(OtherHandler):
        def start(self) -> None:
            order.append("handler started")

        def stop(self) -> None:
            order.append("handler stops")

    class Server(NBServerTask):
        def start(self) -> None:
            order.append("server starts")
            super().start()

        def join(self) -> None:
            super().join()
            order.append("server ended")

    with (
        running(service_of(Server, Handler), *HERE) as service,
        apache_client(service, made=Other) as asking,
    ):
        assert asking.answer() == 42
    assert order == ["handler started", "server starts", "server ended", "handler stops"]


def test_server_without_handler_or_with_two_says_so() -> None:
    assert start_error(NBServerTask) == (
        "NBServerTask needs a handler that implements a service: no ThriftHandlerTask is there."
    )
    assert start_error(NBServerTask, EchoHandler, OtherHandler) == (
        "NBServerTask can serve one handler, and there are EchoHandler, OtherHandler. Set MODULE to"
        " the service that it is to serve, or MULTIPLEX = True."
    )


def test_module_chooses_the_handler(service_factory: ServiceFactory) -> None:
    class OtherServer(NBServerTask):
        MODULE = Other

    service = service_factory(service_of(OtherServer, EchoHandler, OtherHandler), *HERE)
    with apache_client(service, made=Other) as asking:
        assert asking.text("a") == "A"
    message = start_error(OtherServer, EchoHandler)
    assert message.endswith("needs a handler that implements Other: none of EchoHandler does.")


def test_handler_of_service_that_extends_module_is_served(service_factory: ServiceFactory) -> None:
    class BaseServer(NBServerTask):
        MODULE = interop.Base

    service = service_factory(service_of(BaseServer, EchoHandler, OtherHandler), *HERE)
    with apache_client(service) as asking:
        assert asking.ping() is None
        assert asking.text("a") == "a"


@pytest.mark.parametrize("protocol", ["binary", "compact", "plain binary", "plain compact"])
def test_multiplexed_calls_find_their_service(
    protocol: str, service_factory: ServiceFactory
) -> None:
    service = service_factory(service_of(Multiplexed, EchoHandler, OtherHandler), *HERE)
    with apache_client(service, protocol, Echo, "Echo") as asking:
        assert asking.text("a") == "a"
        assert asking.ping() is None
    with apache_client(service, protocol, Other, "Other") as asking:
        assert asking.text("a") == "A"
    elsewhere = apache_client(service, protocol, Other, "Elsewhere")
    with elsewhere as asking, pytest.raises(TApplicationException) as unknown:
        asking.text("a")
    assert unknown.value.type == TApplicationException.UNKNOWN_METHOD
    assert unknown.value.message == (
        "there is no service 'Elsewhere', but EchoHandler, OtherHandler, Echo, Other"
    )
    with (
        apache_client(service, protocol, Other) as asking,
        pytest.raises(
            TApplicationException,
            match="names no service; there are EchoHandler, ",
        ),
    ):
        asking.text("a")


def test_call_without_service_goes_to_the_only(service_factory: ServiceFactory) -> None:
    class Default(Multiplexed):
        MODULE = Other

    service = service_factory(service_of(Default, EchoHandler, OtherHandler), *HERE)
    with apache_client(service, made=Other) as asking:
        assert asking.text("a") == "A"
    with apache_client(service, made=Echo, multiplex="Echo") as asking:
        assert asking.text("a") == "a"
    service_factory.stop(service)
    service = service_factory(service_of(Multiplexed, OtherHandler), *HERE)
    with apache_client(service, made=Other) as asking:
        assert asking.text("a") == "A"


def test_two_handlers_of_one_service_need_names() -> None:
    class Second(OtherHandler): ...

    class Named(OtherHandler):
        SERVICE_NAME = "Named"

    class Again(OtherHandler):
        SERVICE_NAME = "Named"

    assert start_error(Multiplexed, Named, Again) == (
        "Named and Again both have the SERVICE_NAME Named: give one of them another."
    )
    with running(service_of(Multiplexed, OtherHandler, Second, Named), *HERE) as service:
        for name in ("OtherHandler", "Second", "Named"):
            with apache_client(service, made=Other, multiplex=name) as asking:
                assert asking.answer() == 42


# -- how it answers --------------------------------------------------------------------------------


@pytest.mark.parametrize("handler", HANDLERS)
def test_pipelined_requests_are_answered_in_their_order(
    handler: type[ThriftHandlerTask], serve: Any
) -> None:
    service = serve(handler)
    numbers = [str(number) for number in range(1000)]
    with connect(service) as connection:
        sent = b"".join(
            request(lambda client, number=number: client.send_text(f"<{number}>"))
            for number in numbers
        )
        sender = threading.Thread(target=connection.sendall, args=(sent,))
        sender.start()
        assert texts(connection, len(numbers)) == numbers
        sender.join()


def test_calls_of_several_clients_run_at_a_time(serve: Any) -> None:
    service = serve(EchoHandler, "--thrift-threads", "3")
    handler = service.requireTask(EchoHandler)
    server: Any = service.requireTask(NBServerTask)
    with ExitStack() as stack:
        clients = [stack.enter_context(connect(service)) for _ in range(5)]
        for number, connection in enumerate(clients):
            call = request(lambda client, number=number: client.send_slowly(f"<{number}>"))
            connection.sendall(call)
        for _ in range(3):
            assert handler.entered.acquire(timeout=30)
        wait_until(lambda: server.n_waiting() >= 2)
        assert not handler.entered.acquire(blocking=False)
        handler.go_on.set()
        for number, connection in enumerate(clients):
            assert texts(connection, 1) == [str(number)]
        assert server.n_waiting() == 0


def test_inline_handlers_answer_while_all_threads_are_busy(service_factory: ServiceFactory) -> None:
    class Quick(OtherHandler):
        INLINE = True

    service = service_factory(
        service_of(Multiplexed, EchoHandler, Quick), *HERE, "--thrift-threads", "1"
    )
    handler = service.requireTask(EchoHandler)
    with connect(service) as one, connect(service) as two:
        for connection in (one, two):
            connection.sendall(_multiplexed(request(lambda client: client.send_slowly("<a>"))))
        assert handler.entered.acquire(timeout=30)
        with apache_client(service, made=Other, multiplex="Other") as asking:
            assert asking.answer() == 42
        handler.go_on.set()
        assert texts(one, 1) == texts(two, 1) == ["a"]


def _multiplexed(frame: bytes, service: bytes = b"Echo:") -> bytes:
    """Name a service in a request of the binary protocol."""
    length = int.from_bytes(frame[8:12]) + len(service)
    content = frame[4:8] + length.to_bytes(4) + service + frame[12:]
    return len(content).to_bytes(4) + content


def test_coroutines_of_several_clients_run_at_a_time(serve: Any) -> None:
    class Waiting(OtherHandler):
        def initTask(self) -> None:  # noqa: N802
            super().initTask()
            self.inside = 0

        async def text(self, text: str) -> str:  # type: ignore[override]
            self.inside += 1
            while self.inside < 8:
                await asyncio.sleep(0)
            return text

    service = serve(Waiting, "--thrift-threads", "1")
    with ExitStack() as stack:
        clients = [stack.enter_context(connect(service)) for _ in range(8)]
        for connection in clients:
            connection.sendall(request(lambda c: c.send_text("<a>"), service=Other))
        for connection in clients:
            assert texts(connection, 1) == ["a"]


def test_coroutines_of_inline_handlers_run_in_their_loop(serve: Any) -> None:
    class Both(AsyncHandler):
        INLINE = True

    service = serve(Both)
    with apache_client(service) as asking:
        assert asking.text("a") == "a"
        assert asking.add(1, 2) == 3


def test_it_speaks_over_a_unix_socket(service_factory: ServiceFactory, tmp_path: Any) -> None:
    path = str(tmp_path / "thrift.sock")
    service = service_factory(service_of(NBServerTask, EchoHandler), "--thrift-sock", path)
    with apache_client(service) as asking:
        assert asking.text("a") == "a"
        assert asking.who() == "a Unix socket"


def test_large_frames_and_pipelined_ones_go_over_tls(serve: Any, pem: str) -> None:
    with connect(serve(EchoHandler, "--thrift-tls-cert", pem)) as connection:
        for size in (1, 16_000, 65_536, 3_000_000):
            ask_text(connection, "x" * size)
        connection.sendall(request(lambda client: client.send_text("<a>")) * 100)
        assert texts(connection, 100) == ["a"] * 100


# -- its limits ------------------------------------------------------------------------------------


def test_a_client_that_is_idle_is_disconnected(serve: Any) -> None:
    service = serve(EchoHandler, "--thrift-idle-timeout", "50ms")
    with connect(service) as fresh, connect(service) as used:
        ask_text(used, "a")
        assert fresh.recv(1) == b""
        assert used.recv(1) == b""
    assert service.requireTask(NBServerTask).n_timeouts() == 2


def test_client_without_answers_is_not_idle(serve: Any) -> None:
    service = serve(EchoHandler, "--thrift-idle-timeout", "1h")
    with connect(service) as teller:
        ask_text(teller, "a")
        (connection,) = connections_of(service)
        with connection.claim:  # so that the server has done with it
            before = connection.active
        teller.sendall(request(lambda client: client.send_tell("a")))
        assert service.requireTask(EchoHandler).was_told.wait(30)
        with connection.claim:
            assert connection.active > before


def test_a_call_that_takes_long_is_not_idle(serve: Any) -> None:
    service = serve(EchoHandler, "--thrift-idle-timeout", "50ms",
        "--thrift-request-timeout", "50ms",
    )  # fmt: skip
    handler = service.requireTask(EchoHandler)
    with connect(service) as busy, connect(service) as idle:
        busy.sendall(request(lambda client: client.send_slowly("<a>")))
        assert idle.recv(1) == b""  # so the time has passed
        handler.go_on.set()
        assert texts(busy, 1) == ["a"]


@pytest.mark.parametrize("part", [1, 3, 4, 5, 20])
def test_incomplete_request_is_disconnected_and_logged(part: int, serve: Any) -> None:
    service = serve(EchoHandler, "--thrift-request-timeout", "50ms")
    with connect(service) as connection, log_of(service) as log:
        connection.sendall(request(lambda client: client.send_text("a"))[:part])
        assert connection.recv(1) == b""
        (line,) = log.wait()
    assert re.fullmatch(
        r"WARNING:Service.NBServerTask:127.0.0.1:\d+ was closed: a request or its answer was under "
        r"way for longer than 0.05 s",
        line,
    )


def test_answer_that_is_not_taken_is_given_up(serve: Any) -> None:
    service = serve(EchoHandler, "--thrift-request-timeout", "2s")
    with connect(service) as connection, log_of(service) as log:
        connection.sendall(request(lambda client: client.send_text("x" * 12_000_000)))
        log.wait_for_line("was closed: a request or its answer was under way")
    assert service.requireTask(NBServerTask).n_timeouts() == 1


@pytest.mark.parametrize("name", ["threads", "max-frame", "max-connections"])
def test_limits_of_nothing_are_refused(name: str) -> None:
    flag, service = f"--thrift-{name}", service_of(NBServerTask, EchoHandler)
    with (
        pytest.raises(OptionError, match=f"{flag} must be 1 or more, not 0"),
        running(service, *HERE, flag, "0"),
    ):
        pass


def test_frame_is_shorter_than_http_would_suggest() -> None:
    for method in (b"GET ", b"POST", b"PUT ", b"HEAD", b"DELE", b"OPTI", b"PATC", b"CONN", b"PRI "):
        assert int.from_bytes(method) > LONGEST_FRAME
    told = "--thrift-max-frame is at most 1073741824, not 10747"
    argv = ("--thrift-max-frame", "1025MiB")
    service = service_of(NBServerTask, EchoHandler)
    with pytest.raises(OptionError, match=told), running(service, *HERE, *argv):
        pass


# -- its end ---------------------------------------------------------------------------------------


def test_stop_finishes_running_calls_and_requests(serve: Any) -> None:
    service = serve(EchoHandler, "--thrift-threads", "1")
    task: Any = service.requireTask(EchoHandler)
    server: Any = service.requireTask(NBServerTask)
    with connect(service) as running_, connect(service) as waiting, connect(service) as idle:
        ask_text(idle, "a")
        running_.sendall(request(lambda client: client.send_slowly("<one>")) * 2)
        assert task.entered.acquire(timeout=30)
        waiting.sendall(request(lambda client: client.send_slowly("<two>")))
        wait_until(lambda: server.n_waiting() >= 1)
        service.shutdown()
        assert idle.recv(1) == b""
        assert not service.health.ended.is_set()
        task.go_on.set()
        assert texts(running_, 2) == ["one", "one"]
        assert texts(waiting, 1) == ["two"]
        assert running_.recv(1) == waiting.recv(1) == b""
    assert service.join(30)


def test_a_stop_finishes_coroutines(serve: Any) -> None:
    class Slow(OtherHandler):
        async def text(self, text: str) -> str:  # type: ignore[override]
            await asyncio.to_thread(self.inside.set)
            await asyncio.to_thread(self.go_on.wait, 30)
            return text

        inside, go_on = threading.Event(), threading.Event()

    service = serve(Slow)
    with connect(service) as connection:
        connection.sendall(request(lambda client: client.send_text("<a>"), service=Other))
        assert Slow.inside.wait(30)
        service.shutdown()
        assert service.requireTask(NBServerTask).stop_event.wait(30)
        Slow.go_on.set()
        assert texts(connection, 1) == ["a"]


class Impatient(NBServerTask):
    """Has no time for calls that have not finished at the stop."""

    def seconds_to_stop(self) -> float:
        return 0.0


def test_slow_coroutine_is_cut_off_at_stop(service_factory: ServiceFactory) -> None:
    class Endless(OtherHandler):
        async def text(self, text: str) -> str:  # type: ignore[override]
            self.inside.set()
            await asyncio.sleep(3600)
            return text

        inside = threading.Event()

    service = service_factory(service_of(Impatient, Endless), *HERE, "--stop-timeout", "1h")
    with connect(service) as connection, log_of(service) as log:
        connection.sendall(request(lambda client: client.send_text("<a>"), service=Other))
        assert Endless.inside.wait(30)
        service.shutdown()
        assert connection.recv(1) == b""
        assert service.join(30)
        log.wait_for_line("Clients cut off, which took too long: 1")


def test_slow_call_is_cut_off_and_logged(service_factory: ServiceFactory) -> None:
    service = service_factory(service_of(Impatient, EchoHandler), *HERE, "--stop-timeout", "1h")
    with connect(service) as connection, log_of(service) as log:
        connection.sendall(request(lambda client: client.send_text("a"))[:10])
        wait_until(lambda: any(each.busy for each in connections_of(service)))
        ask = request(lambda client: client.send_text("<b>"))
        with connect(service) as other:
            other.sendall(ask)
            assert texts(other, 1) == ["b"]
        service.shutdown()
        assert service.join(30)
        log.wait_for_line("Clients cut off, which took too long: 1")
        assert connection.recv(1) == b""


def test_connections_are_counted(serve: Any) -> None:
    service = serve(EchoHandler)
    server = service.requireTask(NBServerTask)
    with connect(service) as one, connect(service) as other:
        ask_text(one, "a")
        ask_text(other, "a")
        assert (server.n_connections(), server.n_accepted()) == (2, 2)
    with connect(service) as last:
        ask_text(last, "a")
        assert server.n_accepted() == 3
        assert server.bound_host == "127.0.0.1"
