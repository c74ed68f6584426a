"""What a wrapper sets in the context of a call is for that call alone, on every transport."""

from __future__ import annotations

import http.client
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import pytest
from sparts.rpc import RPCTask, connect, rpc
from sparts.tasks.asgi import AsgiTask, WsgiTask
from sparts.tasks.select import SelectTask
from sparts.tasks.thrift.rpc import RPCThriftTask
from sparts.tasks.tornado import TornadoHTTPTask
from sparts.testing.running import running
from sparts.vservice import VService
from tornado.web import RequestHandler

from tests.rpc.conftest import url_of
from tests.thrift.clients import client_of
from tests.thrift.echo import EchoServer, InlineHandler
from tests.wrapping import wrapped_by

WAIT = 20.0
calls: ContextVar[int] = ContextVar("calls", default=0)


def counting(call: Any, proceed: Callable[[], Any]) -> Any:
    """Count one more in the context."""
    calls.set(calls.get() + 1)
    return proceed()


async def counting_async(call: Any, proceed: Callable[[], Any]) -> Any:
    """Do it in a coroutine."""
    calls.set(calls.get() + 1)
    return await proceed()


def text() -> bytes:
    return b"%d" % calls.get()


class Page(RequestHandler):
    """Gives what the context has."""

    def get(self) -> None:
        """Answer."""
        self.write(text())


async def by_asgi(scope: Any, receive: Any, send: Any) -> None:
    assert scope["type"] == "http"
    headers = [(b"content-length", b"1")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": text()})


def by_wsgi(environ: Any, start: Any) -> list[bytes]:
    start("200 OK", [])
    return [text()]


Pages: Any = type("Pages", (TornadoHTTPTask,), {"getApplicationConfig": lambda _: [("/", Page)]})
Asgi: Any = type("Asgi", (AsgiTask,), {"app": lambda _: by_asgi})
Wsgi: Any = type("Wsgi", (WsgiTask,), {"app": lambda _: by_wsgi})


class Handler(InlineHandler):
    """Gives it by thrift."""

    def text(self, text: str) -> str:
        """Answer."""
        return str(calls.get())


class Asked(RPCTask):
    """Gives it by RPC."""

    INLINE = True

    @rpc
    def count(self) -> str:
        """Answer."""
        return str(calls.get())


@contextmanager
def by_http(service: VService, task: str) -> Iterator[Callable[[], str]]:
    port = service.requireTask(task).bound_addrs[0][1]
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=WAIT)) as connection:

        def ask() -> str:
            connection.request("GET", "/")
            return connection.getresponse().read().decode()

        yield ask


@contextmanager
def by_thrift(service: VService, task: str) -> Iterator[Callable[[], str]]:
    with client_of(service, Handler.MODULE) as client:
        yield lambda: str(client.text(""))


@contextmanager
def by_rpc(service: VService, task: str) -> Iterator[Callable[[], str]]:
    with connect(url_of(service, "thrift"), Asked) as asked:
        yield asked.count


@pytest.mark.parametrize("wrapper", [counting, counting_async])
@pytest.mark.parametrize(
    ("prefix", "tasks", "asking"),
    [
        ("http", [Pages], by_http),
        ("asgi", [Asgi], by_http),
        ("wsgi", [Wsgi], by_http),
        ("thrift", [EchoServer, Handler], by_thrift),
        ("rpc-thrift", [RPCThriftTask, Asked], by_rpc),
    ],
)
def test_wrapper_sets_variables_of_one_call(
    prefix: str, tasks: list[Any], asking: Any, wrapper: Any
) -> None:
    argv = (f"--{prefix}-host", "127.0.0.1", f"--{prefix}-port", "0")
    with (
        running(wrapped_by(wrapper, *tasks), *argv) as service,
        asking(service, tasks[0].__name__) as ask,
    ):
        assert [ask() for _ in range(3)] == ["1", "1", "1"]


def test_command_begins_once_however_often_proceeded(tmp_path: Path) -> None:
    def twice(call: Any, proceed: Callable[[], Any]) -> Any:
        proceed()
        return proceed()

    with running(wrapped_by(twice, SelectTask)) as service:
        command = ["sh", "-c", f"echo begun >> {tmp_path}/log"]
        task = service.requireTask(SelectTask)
        for _ in range(3):
            task.popen_communicate(command).result(WAIT)
    assert (tmp_path / "log").read_text() == "begun\n" * 3
