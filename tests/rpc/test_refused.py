"""What each transport refuses: types that it cannot carry, URLs, and servers that are not there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from types import FunctionType
from typing import Annotated, Any

import msgspec
import pytest
from sparts.errors import UsageError
from sparts.rpc import RPCTask, UnavailableError, connect, interface_of, rpc
from sparts.tasks.asgi.rpc import RPCHTTPTask
from sparts.tasks.dbus.rpc import RPCDBusTask
from sparts.tasks.grpc.rpc import RPCGrpcTask
from sparts.tasks.thrift.rpc import RPCThriftTask
from sparts.testing.rpc.kit import Kit
from sparts.testing.running import running, service_of
from sparts.thrift.rpc.idl import idl

from tests.dbus.daemons import Daemon


def taking(kind: Any, parameter: str = "a", method: str = "run", name: str = "Odd") -> Any:
    """Return a task whose one method takes a value of a type."""

    def run(self: Any, a: Any) -> None: ...

    code = run.__code__.replace(co_varnames=("self", parameter))
    made: Any = FunctionType(code, {}, method)
    made.__annotations__ = {parameter: kind, "return": None}
    return type(name, (RPCTask,), {method: rpc(made), "__module__": __name__})


class Lists(RPCTask):
    @rpc
    def run(self) -> list[int] | list[str]: ...  # type: ignore[empty-body]


@dataclass
class Grün:
    x: int


@dataclass
class OptionalI64:
    x: int


class Clash(RPCTask):
    @rpc
    def run(self, a: list[int | None], b: OptionalI64) -> None: ...


def up_to(number: int) -> Any:
    """Return the type of whole numbers up to one."""
    return Annotated[int, msgspec.Meta(ge=0, le=number)]


LONG: Any = list[Annotated[int, msgspec.Meta(ge=0, le=2**64 - 1)]]
DEEP: Any = list[int]
for _ in range(32):
    DEEP = list[DEEP]
TRANSPORTS: dict[str, tuple[Any, tuple[str, ...]]] = {
    "http": (RPCHTTPTask, ("--rpc-http-host", "127.0.0.1")),
    "grpc": (RPCGrpcTask, ("--rpc-grpc-host", "127.0.0.1")),
    "thrift": (RPCThriftTask, ("--rpc-thrift-host", "127.0.0.1")),
    "dbus": (RPCDBusTask, ()),
}


@pytest.fixture(scope="module")
def bus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with Daemon(tmp_path_factory.mktemp("bus")) as daemon:
        yield daemon


@pytest.mark.needs("dbus")
@pytest.mark.parametrize(
    ("transport", "task", "message"),
    [
        ("http", taking(list[complex]), r"Odd\.run .* parameter a: complex .* HTTP cannot serve"),
        ("http", taking(str | date), r"HTTP cannot serve Odd\.run: parameter a, .*date"),
        ("grpc", taking(up_to(2**70)), r"Odd\.run, parameter a: .*: protobuf has no integers of"),
        ("grpc", Lists, r"result: .*: list\[str\] and list\[int\] have values of one class"),
        ("grpc", taking(int, "naïve"), r"serve Odd\.run: protobuf allows ASCII alone in names"),
        ("thrift", taking(LONG),
         r"thrift cannot carry Odd\.run, parameter a\[...\]: .*: it has no ints beyond 64"),
        ("thrift", Lists, r"thrift cannot carry Lists\.run, result: .*have values of one class"),
        ("thrift", taking(Grün), r"carry Odd\.run, parameter a: Grün: 'Grün' can be no name"),
        ("thrift", Clash, r"carry Clash\.run, b: OptionalI64: two things .* OptionalI64"),
        ("dbus", taking(up_to(2**65)),
         r"D-Bus cannot carry Odd\.run, parameter a: .*: it has no ints of more than 64 bits"),
        ("dbus", Lists, r"D-Bus cannot carry Lists\.run, result: .*have values of one class, list"),
        ("dbus", taking(DEEP), r"D-Bus cannot carry Odd\.run, a: .* is too long or too deep"),
        ("dbus", taking(int, method="grün"), r"Odd\.grün, its name can be none on D-Bus"),
    ],
)  # fmt: skip
def test_what_cannot_be_carried_ends_the_start(
    bus: Daemon, transport: str, task: Any, message: str
) -> None:
    server, argv = TRANSPORTS[transport]
    more = ("--rpc-dbus-address", bus.address) if transport == "dbus" else ()
    with (
        pytest.raises(UsageError, match=message),
        running(service_of(task, server), *argv, *more),
    ):
        pass
    if transport == "thrift":
        with pytest.raises(UsageError, match=message):
            idl([interface_of(task)])


@pytest.mark.parametrize(
    ("url", "message"),
    [
        *((url, "dbus:NAME") for url in ("dbus:", "dbus:word", "dbus:org.example..X")),
        *((url, "thrift://HOST:PORT") for url in ("thrift:", "thrift://host:1/path", "thrift:a")),
        ("gopher://localhost", r"'gopher', but .*, grpc, http, https, local, "),
    ],
)
def test_url_without_a_place_is_refused(url: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        connect(url, Kit)


@pytest.mark.needs("dbus")
@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("http://127.0.0.1:1", "cannot be reached"),
        ("thrift://127.0.0.1:1", "Is it running"),
        ("amqp://127.0.0.1:1", "cannot be reached"),
        ("dbus:org.example.Nobody?bus=unix:path=/nowhere", "There is no bus"),
        ("dbus:org.example.Nobody?bus=BUS", "not provided|unknown|no owner"),
    ],
)
def test_server_that_is_not_there_is_unavailable(bus: Daemon, url: str, message: str) -> None:
    with connect(url.replace("BUS", bus.address), Kit, retries=0) as kit:
        with pytest.raises(UnavailableError, match=message) as raised:
            kit.echo_int(1)
        assert not raised.value.maybe_run
    with pytest.raises(UnavailableError, match="This client is closed"):
        kit.echo_int(1)
