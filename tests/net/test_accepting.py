"""Accepting that fails: a pause, and a warning of the service while it lasts."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import Iterable
from typing import Any

import pytest
from sparts.accept_faults import LONGEST_PAUSE, PAUSE, Backoff
from sparts.net.accepting import AT_ONCE, Accepting
from sparts.states import ServiceStatus
from sparts.tasks.asyncio import AsyncioLoopTask, AsyncioTask
from sparts.testing.running import running, service_of
from sparts.testing.waiting import log_of, wait_status
from sparts.vservice import VService

from tests.net.listening import EchoService, echo


class Listener:
    """Gives what a test says, again and again: connections, or errors by their numbers."""

    def __init__(self, answers: Iterable[Any]) -> None:
        self.answers = list(answers)
        self.n_calls = 0

    def accept(self) -> tuple[Any, Any]:
        answer = self.answers[self.n_calls % len(self.answers)]
        self.n_calls += 1
        if isinstance(answer, int):
            raise OSError(answer, os.strerror(answer))
        return answer, ("127.0.0.1", 1)


def accepting_of(service: VService) -> Accepting:
    return Accepting(echo(service))


@pytest.mark.parametrize(
    "number", [errno.ECONNABORTED, errno.EPROTO, errno.EPERM, errno.ENETUNREACH]
)
def test_client_that_has_gone_does_not_pause_server(number: int) -> None:
    with running(EchoService) as service:
        accepting, client = accepting_of(service), object()
        found = accepting.accept(Listener([number, number, client]))  # type: ignore[arg-type]
        assert found == (client, ("127.0.0.1", 1))
        assert accepting.pause == 0.0


def test_endless_errors_of_clients_pause_the_server() -> None:
    with running(EchoService) as service:
        accepting, listener = accepting_of(service), Listener([errno.ECONNABORTED])
        assert accepting.accept(listener) is None  # type: ignore[arg-type]
        assert listener.n_calls == AT_ONCE
        assert accepting.pause == PAUSE


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENOMEM, errno.EINVAL, errno.EOPNOTSUPP])
def test_lasting_failure_is_one_warning(number: int) -> None:
    with running(EchoService) as service:
        accepting, listener = accepting_of(service), Listener([number])
        pauses = []
        for count in range(8):
            accepting.accept(listener)  # type: ignore[arg-type]
            pauses.append(accepting.pause)
            assert len(service.getWarnings()) == (count > 0)
        assert pauses == [0.25, 0.5, 1.0, *[LONGEST_PAUSE] * 5]
        assert accepting.accept(Listener([errno.EAGAIN])) is None  # type: ignore[arg-type]
        assert accepting.pause == 0.0
        assert service.getWarnings() == {}


def test_warning_ends_with_the_server() -> None:
    with running(EchoService) as service:
        accepting = accepting_of(service)
        for _ in range(2):
            accepting.accept(Listener([errno.EINVAL]))  # type: ignore[arg-type]
        accepting.works()
        assert service.getWarnings() == {}


def test_pause_never_overflows() -> None:
    with running(EchoService) as service:
        backoff = Backoff(echo(service), "It fails")
        pauses = {backoff.failed(OSError(errno.EINVAL, "no")) for _ in range(2000)}
        assert max(pauses) == LONGEST_PAUSE
        backoff.succeeded()


class Served(AsyncioTask):
    """Serves a socket by asyncio's own server."""

    OPT_PREFIX = "served"

    def initTask(self) -> None:  # noqa: N802
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = self.listener.getsockname()

    async def run(self) -> None:
        """Answer each client with a letter."""
        server = await asyncio.start_server(self.answer, sock=self.listener.dup())
        async with server:
            await server.serve_forever()

    async def answer(self, _: Any, writer: asyncio.StreamWriter) -> None:
        """Answer one client."""
        writer.write(b"x")
        await writer.drain()
        writer.close()

    def join(self) -> None:
        super().join()
        self.listener.close()


def ask(address: Any) -> bytes:
    with socket.create_connection(address, 30.0) as client:
        return client.recv(1)


def test_server_of_asyncio_pauses_and_accepts_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sparts.accept_faults.ASYNCIO_PAUSE", 0.05)
    with running(service_of(Served)) as service, log_of(service) as log:
        task = service.requireTask(Served)
        assert ask(task.address) == b"x"
        task.listener.shutdown(socket.SHUT_RDWR)
        log.wait_for_line("WARNING:Service:AsyncioLoopTask: No connection can be accepted")
        wait_status(service, ServiceStatus.WARNING)
        task.listener.bind(task.address)
        task.listener.listen()
        assert ask(task.address) == b"x"
        log.wait_for_line("INFO:.*No longer true: No connection can be accepted")
    assert service.requireTask(AsyncioLoopTask).n_callback_errors() == 0
    assert not any("Traceback" in line for line in log.items), log.items


def test_report_of_asyncio_about_descriptors_is_a_warning() -> None:
    with running(service_of(Served)) as service:
        task = service.requireTask(AsyncioLoopTask)
        context = {
            "message": "socket.accept() out of system resource",
            "exception": OSError(errno.EMFILE, os.strerror(errno.EMFILE)),
            "socket": service.requireTask(Served).listener,
        }
        for _ in range(3):
            task.call(task.loop.call_exception_handler, context).result(30.0)
        (warning,) = service.getWarnings().values()
        assert warning == (
            "AsyncioLoopTask: No connection can be accepted for now: Too many open files"
        )
        assert task.n_callback_errors() == 0
