"""The plugins of examples/call_plugins, on every transport: token check, rate limit, audit log."""

from __future__ import annotations

import asyncio
import http.client
import logging
import tomllib
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import grpc
import pytest
from sparts.calls import CallRefusedError, Reason, unwrap_clients, wrap_clients
from sparts.rpc import RPCTask, connect, rpc
from sparts.tasks.asgi import AsgiTask
from sparts.tasks.asgi.rpc import RPCHTTPTask
from sparts.tasks.dbus import DBusClientTask, DBusError
from sparts.tasks.event import EventTask
from sparts.tasks.grpc.rpc import RPCGrpcTask
from sparts.tasks.periodic import PeriodicTask
from sparts.tasks.queue import QueueTask
from sparts.tasks.select import SelectTask
from sparts.tasks.tornado import TornadoHTTPTask
from sparts.tasks.twisted import TwistedWebTask
from sparts.tasks.twisted_command import CommandTask
from sparts.testing.distributions import make_distribution
from sparts.testing.running import running, service_of
from sparts.vservice import VService
from thrift.protocol.TBinaryProtocol import TBinaryProtocol
from thrift.transport.THttpClient import THttpClient
from tornado.web import RequestHandler, stream_request_body
from tornado.websocket import WebSocketHandler

from tests.dbus.daemons import Daemon
from tests.dbus.services import NAME, PATH, Greeter
from tests.grpc.greeters import GreeterTask, Text, pb2_grpc, target
from tests.needs import require
from tests.rpc.conftest import here, url_of
from tests.thrift.clients import client_of
from tests.thrift.echo import AsyncHandler, EchoHandler, EchoServer
from tests.thrift.test_http import EchoOverHTTP
from tests.wrapping import wrapped_by

ROOT = Path(__file__).parents[2]
PLUGINS = ROOT / "examples" / "call_plugins"
WAIT = 30.0


@pytest.fixture(autouse=True)
def _installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the example distribution be installed, as its pyproject.toml says."""
    project = tomllib.loads((PLUGINS / "pyproject.toml").read_text())["project"]
    folder = make_distribution(
        tmp_path / "fakes", project["name"], entry_points=project["entry-points"]
    )
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.syspath_prepend(str(PLUGINS / "src"))


class Page(RequestHandler):
    """Answers, or fails."""

    def get(self, number: str) -> None:
        """Fail for 0."""
        self.write(str(1 // int(number)))


@stream_request_body
class Upload(RequestHandler):
    """Takes a body in parts."""

    size = 0

    def data_received(self, chunk: bytes) -> None:
        """Count it."""
        self.size += len(chunk)

    def put(self) -> None:
        """Tell how much came."""
        self.write(str(self.size))


class Socket(WebSocketHandler):
    """Accepts every caller."""


def task(name: str, base: Any, **attributes: Any) -> Any:
    """Make a task type."""
    return type(name, (base,), attributes)


ROUTES = [("/pages/([0-9]+)", Page), ("/upload", Upload), ("/socket", Socket)]
Pages = task("Pages", TornadoHTTPTask, getApplicationConfig=lambda _: ROUTES)
Doubling = task("Doubling", QueueTask, execute=lambda _, item, context: 2 * item)
Asked = task("Asked", EventTask, execute=lambda _, context=None: "done")
Regular = task(
    *("Regular", PeriodicTask),
    INTERVAL=3600.0,
    RUN_AT_START=False,
    execute=lambda _, context=None: "done",
)


class Transport(NamedTuple):
    """A way to call a task."""

    tasks: list[Any]
    argv: tuple[str, ...]
    call: Callable[[Any, str], str]
    """Calls the service with a token, and gives the outcome: ``ok``, or the refusal."""
    name: str
    """What the audit log calls it."""
    guarded: str = ""
    """The refusal of a call without a token; empty: a call from inside, which needs none."""
    takes_token: bool = False
    limited: str = "CallRefusedError"
    """The refusal of one call too many."""


def http_call(
    task: type[Any], method: str, path: str, body: bytes | None = None, **more: Any
) -> Callable[[Any, str], str]:
    def call(service: VService, token: str) -> str:
        port = service.requireTask(task).bound_addrs[0][1]
        headers = {name.replace("_", "-"): value for name, value in more.items()}
        headers |= {"Authorization": f"Bearer {token}"} if token else {}
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=WAIT)) as connection:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            if answer.status != 101:
                answer.read()
        if answer.status == 401:
            assert answer.headers["WWW-Authenticate"] == "Bearer"
        if answer.status == 429:
            assert int(answer.headers["Retry-After"]) > 3000
        return "ok" if answer.status in (101, 200) else str(answer.status)

    return call


def thrift_call(service: VService, token: str) -> str:
    with client_of(service, EchoHandler.MODULE) as echo:
        return answer_of(lambda: echo.text("ok"))


def thrift_http_call(service: VService, token: str) -> str:
    port = service.requireTask(EchoOverHTTP).bound_addrs[0][1]
    transport = THttpClient(f"http://127.0.0.1:{port}/")
    transport.setCustomHeaders({"Authorization": f"Bearer {token}"} if token else {})
    with closing(transport):
        return answer_of(lambda: EchoHandler.MODULE.Client(TBinaryProtocol(transport)).text("ok"))


async def answering(scope: Any, receive: Any, send: Any) -> None:
    """Answer with nothing."""
    if scope["type"] == "http":
        headers = [(b"content-length", b"0")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b""})
    elif scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})


Application = task("Application", AsgiTask, app=lambda _: answering)


def grpc_call(stub: str) -> Callable[[Any, str], str]:
    def call(service: VService, token: str) -> str:
        metadata = (("authorization", f"Bearer {token}"),) if token else ()
        with grpc.insecure_channel(target(service)) as channel:
            try:
                getattr(pb2_grpc, stub)(channel).Greet(
                    Text(text="you"), metadata=metadata, timeout=WAIT
                )
            except grpc.RpcError as error:
                failed: Any = error
                return str(failed.code().name)
        return "ok"

    return call


class Geo(RPCTask):
    """Measures."""

    @rpc
    def distance(self, a: int, b: int) -> int:
        """Return how far it is."""
        return abs(a - b)


def rpc_call(service: VService, token: str) -> str:
    headers = {"authorization": f"Bearer {token}"} if token else {}
    with connect(url_of(service, "http"), Geo, headers=headers) as geo:
        return rpc_answer(geo)


def rpc_grpc_call(service: VService, token: str) -> str:
    async def send(call: Any, proceed: Callable[[], Any]) -> Any:
        call.headers["authorization"] = f"Bearer {token}"
        return await proceed()

    wrap_clients(send)
    try:
        with connect(url_of(service, "grpc"), Geo) as geo:
            return rpc_answer(geo)
    finally:
        unwrap_clients(send)


def rpc_answer(geo: Any) -> str:
    try:
        return "ok" if geo.distance(1, 2) == 1 else "?"
    except CallRefusedError as error:
        early = error.reason is Reason.TOO_MANY and (error.retry_after or 0) < 3000
        return "too early" if early else str(error.reason)


def answer_of(call: Callable[[], Any]) -> str:
    try:
        return "ok" if call() else "?"
    except Exception as error:
        found: Any = error
        return str(found.type if isinstance(found, DBusError) else type(found).__name__)


def dbus_call(method: str) -> Callable[[Any, str], str]:
    def call(service: VService, token: str) -> str:
        greeter = service.requireTask(DBusClientTask).proxy(NAME, PATH, NAME)
        return answer_of(lambda: greeter.call(method, "you", signature="s"))

    return call


def work_call(task: type[Any], method: str, *args: Any) -> Callable[[Any, str], str]:
    def call(service: VService, token: str) -> str:
        target = service.requireTask(task)
        return answer_of(lambda: getattr(target, method)(*args).result(WAIT))

    return call


HTTP = ("--http-host", "127.0.0.1", "--http-port", "0")
OVER_HTTP = ("--thrift-http-host", "127.0.0.1", "--thrift-http-port", "0")
FRAMED = ("--thrift-host", "127.0.0.1", "--thrift-port", "0")
ASGI = ("--asgi-host", "127.0.0.1", "--asgi-port", "0")
GRPC = ("--grpc-host", "127.0.0.1", "--grpc-port", "0")
WEB = ("--web-host", "127.0.0.1", "--web-port", "0")
ERROR = "org.freedesktop.DBus.Error."
BUS = ("--dbus-address", "BUS", "--dbus-client-address", "BUS")

HANDSHAKE: dict[str, Any] = {
    "Upgrade": "websocket", "Connection": "Upgrade", "Sec_WebSocket_Version": "13",
    "Sec_WebSocket_Key": "dGhlIHNhbXBsZSBub25jZQ==",
}  # fmt: skip

TRANSPORTS = {
    "http": Transport(
        [Pages], HTTP, http_call(Pages, "GET", "/pages/1"),
        "http GET /pages/([0-9]+) by 127.0.0.1", "401", True, "429",
    ),
    "http-not-found": Transport(
        [Pages], HTTP, http_call(Pages, "GET", "/nowhere"), "http GET by 127.0.0.1", "401",
    ),
    "http-upload": Transport(
        [Pages], HTTP, http_call(Pages, "PUT", "/upload", b"x" * 500_000),
        "http PUT /upload by 127.0.0.1", "401", True, "429",
    ),
    "websocket": Transport(
        [Pages], HTTP, http_call(Pages, "GET", "/socket", **HANDSHAKE),
        "http GET /socket by 127.0.0.1", "401", True, "429",
    ),
    "asgi-websocket": Transport(
        [Application], ASGI, http_call(Application, "GET", "/", **HANDSHAKE),
        "http GET by 127.0.0.1", "401", True, "429",
    ),
    "web": Transport(
        [TwistedWebTask], WEB, http_call(TwistedWebTask, "GET", "/"),
        "http GET by 127.0.0.1", "401", True, "429",
    ),
    "asgi": Transport(
        [Application], ASGI, http_call(Application, "GET", "/"),
        "http GET by 127.0.0.1", "401", True, "429",
    ),
    "grpc": Transport(
        [GreeterTask], GRPC, grpc_call("GreeterStub"),
        "grpc sparts.tests.Greeter/Greet by 127.0.0.1", "UNAUTHENTICATED", True,
        "RESOURCE_EXHAUSTED",
    ),
    "grpc-thread": Transport(
        [GreeterTask], GRPC, grpc_call("ThreadGreeterStub"),
        "grpc sparts.tests.ThreadGreeter/Greet by 127.0.0.1", "UNAUTHENTICATED", True,
        "RESOURCE_EXHAUSTED",
    ),
    "rpc": Transport(
        [Geo, RPCHTTPTask], here("http"), rpc_call,
        "rpc Geo.distance by 127.0.0.1", "unauthenticated", True, "too many",
    ),
    "rpc-grpc": Transport(
        [Geo, RPCGrpcTask], here("grpc"), rpc_grpc_call,
        "grpc Geo/distance by 127.0.0.1", "unauthenticated", True, "too many",
    ),
    "thrift": Transport(
        [EchoServer, EchoHandler], FRAMED, thrift_call,
        "thrift text by 127.0.0.1", "TApplicationException", limited="TApplicationException",
    ),
    "async-thrift": Transport(
        [EchoServer, AsyncHandler], FRAMED, thrift_call,
        "thrift text by 127.0.0.1", "TApplicationException", limited="TApplicationException",
    ),
    "thrift-over-http": Transport(
        [EchoOverHTTP, EchoHandler], OVER_HTTP, thrift_http_call,
        "http POST /.* by 127.0.0.1", "TTransportException", True, "TTransportException",
    ),
    "dbus": Transport(
        [Greeter, DBusClientTask], BUS, dbus_call("Greet"),
        f"dbus {NAME}.Greet by :1.", ERROR + "AuthFailed", limited=ERROR + "LimitsExceeded",
    ),
    "async-dbus": Transport(
        [Greeter, DBusClientTask], BUS, dbus_call("GreetSoon"),
        f"dbus {NAME}.GreetSoon by :1.", ERROR + "AuthFailed", limited=ERROR + "LimitsExceeded",
    ),
    "queue": Transport(
        [Doubling], (), work_call(Doubling, "submit", 1), "queue Doubling by nobody",
    ),
    "event": Transport([Asked], (), work_call(Asked, "execute_async"), "event Asked by nobody"),
    "periodic": Transport(
        [Regular], (), work_call(Regular, "execute_async"), "periodic Regular by nobody",
    ),
    "select": Transport(
        [SelectTask], (), work_call(SelectTask, "popen_communicate", ["true"]),
        "command true by nobody",
    ),
    "command": Transport(
        [CommandTask], (), work_call(CommandTask, "run", ["/bin/true"]), "command true by nobody",
    ),
}  # fmt: skip


@pytest.fixture(params=TRANSPORTS)
def transport(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Transport]:
    """Give each transport in turn, with a bus if it needs one."""
    found = TRANSPORTS[request.param]
    if found.argv is not BUS:
        yield found
        return
    require(["dbus"])
    with Daemon(tmp_path / "bus") as bus:
        yield found._replace(argv=tuple(bus.address if a == "BUS" else a for a in found.argv))


def test_token_is_checked_on_every_transport(transport: Transport) -> None:
    with running(
        service_of(*transport.tasks), *transport.argv, "--calls-token", "right"
    ) as service:
        assert transport.call(service, "") == (transport.guarded or "ok")
        assert transport.call(service, "wrong") == (transport.guarded or "ok")
        if transport.takes_token:
            assert transport.call(service, "right") == "ok"


@pytest.mark.parametrize("name", ["http", "websocket", "web", "asgi", "asgi-websocket"])
@pytest.mark.parametrize("token", ["r\xefght", "\xff" * 4000, "right, Bearer right", " right"])
def test_hostile_token_is_refused_as_any_other(name: str, token: str) -> None:
    found = TRANSPORTS[name]
    with running(service_of(*found.tasks), *found.argv, "--calls-token", "right") as service:
        assert found.call(service, token) == "401"
        assert found.call(service, "right") == "ok"


def test_rate_is_limited_on_every_transport(transport: Transport) -> None:
    if transport.guarded == "401" and not transport.takes_token:
        pytest.skip("there is nothing that can be called")
    options = ("--rate-calls", "4", "--rate-period", "1h")
    with running(service_of(*transport.tasks), *transport.argv, *options) as service:
        assert transport.call(service, "") == "ok"
        assert transport.call(service, "") == "ok"
        for _ in range(2):  # thrift over HTTP is limited as HTTP and as thrift, each by itself
            transport.call(service, "")
        for _ in range(2):
            assert transport.call(service, "") == transport.limited


def test_calls_of_every_transport_are_audited(
    transport: Transport, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "audit")
    with running(service_of(*transport.tasks), *transport.argv) as service:
        transport.call(service, "")
    lines = [record.getMessage() for record in caplog.records if record.name == "audit"]
    assert any(line.startswith(transport.name) for line in lines), lines
    if transport.name.endswith("nobody"):
        assert ": ok, " in lines[-1]


def test_audit_names_the_error_of_an_http_handler(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "audit")
    with running(service_of(Pages), *HTTP) as service:
        assert http_call(Pages, "GET", "/pages/0")(service, "") == "500"
    line = next(record.getMessage() for record in caplog.records if record.name == "audit")
    assert line.startswith("http GET /pages/([0-9]+) by 127.0.0.1: ZeroDivisionError, ")


def test_audit_names_what_a_token_check_refuses(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "audit")
    with running(service_of(Pages), *HTTP, "--calls-token", "right") as service:
        assert http_call(Pages, "GET", "/pages/1")(service, "wrong") == "401"
    line = next(record.getMessage() for record in caplog.records if record.name == "audit")
    assert ": CallRefusedError, " in line


def drops(call: Any, proceed: Callable[[], Any]) -> None:
    proceed().close()


async def fails_before_it_waits(call: Any, proceed: Callable[[], Any]) -> None:
    drops(call, proceed)
    raise ValueError(call.name)


async def gives_up(call: Any, proceed: Callable[[], Any]) -> None:
    await asyncio.wait_for(proceed(), 0)


async def is_cancelled(call: Any, proceed: Callable[[], Any]) -> None:
    drops(call, proceed)
    raise asyncio.CancelledError


async def fails_at_the_end(call: Any, proceed: Callable[[], Any]) -> None:
    await proceed()
    raise ValueError(call.name)


@pytest.mark.parametrize(
    ("wrapper", "statuses"),
    [(drops, {"403", "500"}), (fails_before_it_waits, {"500"}), (gives_up, {"500"}),
     (is_cancelled, {"500"}),
     (fails_at_the_end, {"ok"})],
)  # fmt: skip
@pytest.mark.parametrize("name", ["http", "asgi"])
def test_faulty_wrapper_leaves_no_request_unanswered(
    name: str, wrapper: Any, statuses: set[str]
) -> None:
    wrapping = wrapped_by(wrapper, *TRANSPORTS[name].tasks)
    with running(wrapping, *TRANSPORTS[name].argv) as service:
        assert TRANSPORTS[name].call(service, "") in statuses
