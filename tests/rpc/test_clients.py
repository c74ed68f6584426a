"""Typed clients: what checkers see, retries, deadlines passed on, and the shared client."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import ssl
import sys
import threading
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Any

import pytest
from sparts import entry_points
from sparts.errors import UsageError
from sparts.rpc import (
    DeadlineExceededError,
    RPCClientTask,
    RPCTask,
    UnavailableError,
    clients,
    connect,
    connect_async,
    rpc,
)
from sparts.rpc.interface import interface_of
from sparts.tasks.asgi.rpc import RPCHTTPTask
from sparts.tasks.thrift.rpc import RPCThriftTask
from sparts.testing import ServiceFactory, service_of
from sparts.testing.waiting import WAIT

from tests.certificates import trusting
from tests.processes import captured
from tests.rpc.conftest import HERE, Web, here, url_of
from tests.rpc.geo import Geo, Point

TYPED = """
from collections.abc import AsyncIterator, Iterator
from typing import assert_type
from sparts.rpc import RPCClientTask, connect, connect_async
from tests.rpc.geo import Geo, Point, Route

class GeoClient(RPCClientTask[Geo]):
    INTERFACE = Geo

async def calls(client: GeoClient) -> None:
    with connect("http://localhost", Geo, timeout=5.0) as geo:
        assert_type(geo.half(2), int)
        assert_type(geo.walk(2), Iterator[Point])
        assert_type(geo.tick(), AsyncIterator[int])
        assert_type(await geo.route(None), Route | None)
        geo.distance(Point(0.0, 0.0), "b")
        geo.distanse
    async with connect_async("http://localhost", Geo) as waiting:
        assert_type(await waiting.call(Geo.half, 2), int)
        assert_type(await waiting.call(Geo.route, None), Route | None)
        assert_type(waiting.call(Geo.walk, 2), AsyncIterator[Point])
        assert_type(waiting.call(Geo.tick), AsyncIterator[int])
    assert_type(client.proxy.half(2), int)
    assert_type(await client.async_proxy.call(Geo.half, 2), int)
"""


@pytest.fixture
def typed(tmp_path: Path) -> Path:
    """Write a script that has two mistakes; return its folder."""
    (tmp_path / "typed.py").write_text(TYPED)
    (tmp_path / "tests").symlink_to(Path(__file__).parents[1])
    return tmp_path


def test_mypy_sees_the_methods_of_the_class(typed: Path) -> None:
    command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(typed)]
    found = captured([*command, str(typed / "typed.py")], cwd=Path(__file__).parents[2]).stdout
    assert 'Argument 2 to "distance" of "Geo" has incompatible type "str"' in found, found
    assert '"Geo" has no attribute "distanse"' in found
    assert "Found 2 errors" in found


@pytest.mark.one_python
def test_pyright_sees_the_same_types(typed: Path) -> None:
    checker = Path(sys.executable).with_name("basedpyright")
    command = [str(checker), "--outputjson", "--pythonpath", sys.executable, "typed.py"]
    found = json.loads(captured(command, cwd=typed).stdout)["generalDiagnostics"]
    wrong, unknown = [each["message"] for each in found if each["severity"] == "error"]
    assert 'parameter "b" of type "Point" in function "distance"' in wrong
    assert "distanse" in unknown


class Flaky:
    """A server that closes its first connections, and then hands on to another."""

    def __init__(self, port: int, closes: int) -> None:
        self._to, self._left, self.accepted = port, closes, 0
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while True:
            try:
                client, _ = self._socket.accept()
            except OSError:
                return
            self.accepted += 1
            request = client.recv(1 << 16)
            if self.accepted > self._left:
                with socket.create_connection(("127.0.0.1", self._to), WAIT) as server:
                    server.sendall(request)
                    answer = b""
                    while not re.search(rb"\r\n\r\n.", answer):  # head and body come apart
                        answer += server.recv(1 << 16)
                    client.sendall(answer)
            client.close()

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join()


@pytest.fixture
def flaky(web: Web) -> Iterator[Flaky]:
    found = Flaky(web.port, 2)
    yield found
    found.close()


def test_idempotent_methods_alone_are_called_again(flaky: Flaky) -> None:
    url = f"http://127.0.0.1:{flaky.port}"
    with connect(url, Geo) as geo:
        assert geo.half(8) == 4
        assert flaky.accepted == 3
    flaky.accepted = 0
    with connect(url, Geo) as geo:
        with pytest.raises(UnavailableError):
            geo.total(iter([1]))
        assert flaky.accepted == 1


def test_awaited_calls_are_made_again_too(flaky: Flaky) -> None:
    async def main() -> Any:
        async with connect_async(f"http://127.0.0.1:{flaky.port}", Geo) as geo:
            return await geo.call(Geo.half, 8)

    assert asyncio.run(main()) == 4
    assert flaky.accepted == 3


@pytest.mark.parametrize("number", [0, 20, 5000])
def test_pauses_between_calls_stay_short(number: int) -> None:
    with connect("http://127.0.0.1:1", Geo, timeout=None, retries=9999) as geo:
        caller = vars(geo)["_caller"]
        call = caller._outgoing(interface_of(Geo).methods["half"], (8,), {}, is_async=False)
        assert 0 < caller._pause(call, number) <= 5


def test_async_with_connect_awaits_all_methods(web: Web) -> None:
    async def main() -> Any:
        async with connect(web.url, Geo) as geo:
            return await geo.half(8)

    assert asyncio.run(main()) == 4


class GeoClient(RPCClientTask[Geo]):
    OPT_PREFIX = "geo"
    INTERFACE = Geo


class Relay(RPCTask):
    """Calls another service."""

    DEPS = [GeoClient]

    @rpc(deadline=0.3)
    def half(self, n: int) -> int:
        """Ask the other."""
        found: int = self.service.requireTask(GeoClient).proxy.half(n)
        return found

    @rpc
    def slow(self) -> int:
        """Ask a server that does not answer, for as long as the caller waits."""
        with socket.create_server(("127.0.0.1", 0)) as silent:
            port = silent.getsockname()[1]
            with connect(f"http://127.0.0.1:{port}", Geo, timeout=None) as geo:
                try:
                    geo.half(1)
                except DeadlineExceededError:
                    self.ended.set()
                    raise
        return 0

    ended = threading.Event()


def test_client_task_shares_a_client_and_deadlines(web: Web, factory: ServiceFactory) -> None:
    url = Web(factory(service_of(Relay, RPCHTTPTask), *HERE, "--geo-url", web.url)).url
    with connect(url, Relay) as relay:
        assert relay.half(6) == 3
    with connect(url, Relay, timeout=0.2) as relay, pytest.raises(DeadlineExceededError):
        relay.slow()
    assert Relay.ended.wait(WAIT)


class Door(RPCTask):
    """Has methods that are named like those of its clients."""

    closed = 0

    @rpc
    def close(self) -> int:  # type: ignore[override]
        """Close it."""
        Door.closed += 1
        return Door.closed

    @rpc
    def call(self, who: str) -> str:
        """Call somebody to it."""
        return who


class DoorClient(RPCClientTask[Door]):
    OPT_PREFIX = "door"
    INTERFACE = Door


def test_methods_named_like_those_of_clients_are_called(factory: ServiceFactory) -> None:
    url = Web(factory(service_of(Door, RPCHTTPTask), *HERE)).url
    client = factory(service_of(DoorClient), "--door-url", url)
    task: Any = client.requireTask(DoorClient)
    with connect(url, Door) as door:
        assert (door.close(), door.call("you")) == (1, "you")
    assert task.proxy.close() == 2
    factory.stop(client)
    assert Door.closed == 2
    with pytest.raises(UnavailableError):
        task.proxy.close()


def test_client_over_a_unix_socket(factory: ServiceFactory, tmp_path: Path) -> None:
    path = tmp_path / "rpc.sock"
    service = factory(service_of(Geo, RPCHTTPTask), "--rpc-http-sock", str(path))
    with connect(f"unix:{path}", Geo) as geo:
        assert geo.distance(Point(0.0, 0.0), Point(0.0, 2.0)) == 2.0
    factory.stop(service)


def sparts(*words: str, status: int = 0) -> str:
    """Run the command, and return what it prints."""
    command = [sys.executable, "-m", "sparts", *words]
    root = Path(__file__).parents[2]
    done = captured(command, cwd=root)
    assert done.returncode == status, done.stderr
    return done.stdout + done.stderr


def test_command_calls_and_lists_methods(web: Web) -> None:
    given = '{"a": {"x": 0, "y": 0}, "b": {"x": 3, "y": 4}}'
    assert sparts("call", web.url, "Geo.distance", given) == "5.0\n"
    assert '"title": "Missing"' in sparts("call", web.url, "Geo.find", '{"name": "a"}', status=1)
    assert "no JSON" in sparts("call", web.url, "Geo.find", "{", status=2)
    assert f"`sparts rpc list {web.url}`" in sparts("call", web.url, "Geo.fnd", status=1)
    odd = sparts("call", web.url, "Geo.find", '{"\\u009b\\u202e": 1}', status=1)
    assert "\\u009b\\u202e" in odd  # and no character that acts on the terminal
    lines = sparts("rpc", "list", web.url).splitlines()
    assert lines[0].split(maxsplit=1) == ["Geo.distance", "Return the distance in metres."]
    assert "Geo.who" in lines  # which has no docstring
    assert "service Geo" in sparts("rpc", "idl", "--proto", "tests.rpc.geo:Geo")
    assert "has no RPCTask" in sparts("rpc", "idl", "--proto", "PeriodicTask", status=2)


@pytest.mark.parametrize(("scheme", "task"), [("http", RPCHTTPTask), ("thrift", RPCThriftTask)])
def test_client_speaks_tls_and_checks_the_certificate(
    scheme: str, task: Any, factory: ServiceFactory, pem: str
) -> None:
    service = factory(service_of(Geo, task), *here(scheme), f"--rpc-{scheme}-tls-cert", pem)
    url = url_of(service, scheme, "localhost").replace("http:", "https:")
    with connect(url, Geo, ssl=trusting()) as geo:
        assert [geo.half(8), geo.half(6)] == [4, 3]

    async def main() -> Any:
        async with connect_async(url, Geo, ssl=trusting()) as geo:
            return [await geo.half(8), await geo.half(6)]

    assert asyncio.run(main()) == [4, 3]
    with (
        connect(url, Geo, retries=0, ssl=ssl.create_default_context()) as geo,
        pytest.raises(UnavailableError, match="(?i)certificate"),
    ):
        geo.half(8)


class Mixed(Enum):
    """What JSON and MessagePack cannot carry."""

    NUMBER = 1
    STRING = "x"


class Carrier(RPCTask):
    @rpc
    def carry(self, mixed: Mixed) -> None:
        """Do nothing."""


@pytest.mark.parametrize("url", ["local:", "http://localhost:1", "amqp://localhost:1"])
def test_type_that_cannot_be_carried_is_named(url: str) -> None:
    with pytest.raises(UsageError, match="cannot carry Carrier.carry: Enums must contain either"):
        connect(url, Carrier)


@pytest.mark.parametrize(("url", "wanted"), [("dbus:a.b", "dbus"), ("https://a", "asgi")])
def test_scheme_without_its_distribution_names_it(
    url: str, wanted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clients, "providers", list)
    monkeypatch.setattr(entry_points, "installed", list)
    with pytest.raises(UsageError, match=rf"but local\. .*: pip install sparts-{wanted}$"):
        connect(url, Geo)
    with pytest.raises(UsageError, match=r"provides 'gopher', but local\.$"):
        connect("gopher:a", Geo)
