"""Which addresses the hosts of a server mean: IPv4 and IPv6, and what a system lacks of them."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
from typing import Any

import pytest
from sparts.errors import StartError
from sparts.net import sockets
from sparts.testing.running import make_service, running, running_task, service_of
from sparts.vservice import VService

from tests.net.listening import Echo, EchoService, echo, inherit


class Open(Echo):
    """Listens as if no host was thought of."""

    DEFAULT_HOST = ""


OpenService = service_of(Open)


def hosts(service: VService, task: type[Echo] = Echo) -> list[str]:
    addresses = service.requireTask(task).bound_addrs
    assert len({address[1] for address in addresses}) == 1
    for address in addresses:
        reached = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address[0], address[0])
        socket.create_connection((reached, address[1])).close()
    return [address[0] for address in addresses]


def lacking(monkeypatch: pytest.MonkeyPatch, family: int, number: int) -> None:
    """Have the system be without addresses of a family."""
    bind = sockets._bind_tcp

    def refuse(of: int, *args: Any) -> socket.socket:
        if of == family:
            raise OSError(number, "lacking")
        return bind(of, *args)

    monkeypatch.setattr(sockets, "_bind_tcp", refuse)


def test_default_is_every_address_ipv4_first(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    with running(OpenService) as service:
        assert hosts(service, Open) == ["0.0.0.0", "::"]
        port = service.requireTask(Open).bound_addrs[0][1]
        lines = [line for line in caplog.messages if "Server Started" in line]
    assert lines == [
        f"Open Server Started on 0.0.0.0:{port}",
        f"Open Server Started on [::]:{port}",
    ]


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
@pytest.mark.parametrize("number", [errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL])
def test_default_is_what_system_has_without_word(
    family: int, number: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    lacking(monkeypatch, family, number)
    with running(OpenService) as service:
        assert hosts(service, Open) == ["::" if family == socket.AF_INET else "0.0.0.0"]
    assert [record for record in caplog.records if record.levelname == "WARNING"] == []


def test_system_without_any_address_is_a_start_error(monkeypatch: pytest.MonkeyPatch) -> None:
    lacking(monkeypatch, socket.AF_INET, errno.EADDRNOTAVAIL)
    lacking(monkeypatch, socket.AF_INET6, errno.EADDRNOTAVAIL)
    with pytest.raises(StartError, match=r"0\.0\.0\.0:0, \[::\]:0 is not an address of this host"):
        make_service(OpenService).startBG()


@pytest.mark.parametrize("host", ["::", "[::]", "0.0.0.0,::", "::,0.0.0.0"])
def test_host_of_all_ipv6_addresses_serves_ipv4_too(host: str) -> None:
    with running(EchoService, "--echo-host", host) as service:
        assert set(hosts(service)) == {"0.0.0.0", "::"}


@pytest.mark.parametrize("host", ["", "::"])
def test_option_restricts_all_addresses_to_ipv6(host: str) -> None:
    with running(EchoService, "--echo-host", host, "--echo-ipv6-only") as service:
        assert hosts(service) == ["::"]
        port = echo(service).bound_addrs[0][1]
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port))


def test_host_in_brackets_is_an_ipv6_address() -> None:
    with running(EchoService, "--echo-host", "[::1],::ffff:127.0.0.1") as service:
        assert hosts(service) == ["::1", "127.0.0.1"]


@pytest.mark.parametrize("number", [errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL])
def test_name_serves_the_addresses_that_can_be_bound(
    number: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    infos = [
        (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::1", 0, 0, 0)),
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 0)),
    ]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: infos)
    lacking(monkeypatch, socket.AF_INET6, number)
    with running(EchoService, "--echo-host", "localhost") as service:
        assert [each[0] for each in echo(service).bound_addrs] == ["127.0.0.1"]
    assert "Echo does not listen on [::1]:0: lacking" in caplog.messages


def test_unbindable_name_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    lacking(monkeypatch, socket.AF_INET, errno.EADDRNOTAVAIL)
    lacking(monkeypatch, socket.AF_INET6, errno.EADDRNOTAVAIL)
    with pytest.raises(StartError, match="localhost:0 is not an address of this host"):
        make_service(EchoService, "--echo-host", "localhost").startBG()


def test_address_of_another_host_in_list_is_error() -> None:
    with pytest.raises(StartError, match="is not an address of this host"):
        make_service(EchoService, "--echo-host", "127.0.0.1,192.0.2.1").startBG()


def test_port_taken_on_one_family_is_an_error() -> None:
    with socket.create_server(("0.0.0.0", 0)) as taken:
        port = str(taken.getsockname()[1])
        with pytest.raises(StartError, match="is in use by another process"):
            make_service(EchoService, "--echo-host", "::", "--echo-port", port).startBG()


def test_addresses_are_known_when_the_task_is_initialised() -> None:
    class Early(Open):
        def initTask(self) -> None:  # noqa: N802
            super().initTask()
            self.early = (self.bound_v4_addrs, self.bound_v6_addrs, self.bound_addrs)

    with running_task(Early) as task:
        ((v4, port),), ((v6, other, *_),), every = task.early
        assert (v4, v6, port) == ("0.0.0.0", "::", other)
        assert every == [*task.bound_v4_addrs, *task.bound_v6_addrs]


def test_start_again_in_loop_ignores_option_that_changed() -> None:
    with running(EchoService) as service:
        before = list(echo(service).bound_addrs)
        service.setOption("echo_port", 7)
        (sock,) = echo(service).take_sockets()
        assert [sock.getsockname()] == before


@pytest.mark.parametrize("inherited", [False, True])
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_connections_send_without_delay_also_in_asyncio(
    host: str, inherited: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with contextlib.ExitStack() as stack:
        if inherited:
            given = stack.enter_context(socket.create_server((host, 0), family=family))
            inherit(monkeypatch, echo=given)
        service = stack.enter_context(running(EchoService, "--echo-host", host))
        (listener,) = echo(service)._sockets
        accepted = asyncio.run(accepted_by_asyncio(listener))
    assert accepted == (socket.IPPROTO_TCP, 1)


async def accepted_by_asyncio(listener: socket.socket) -> tuple[int, int]:
    """Give the protocol and TCP_NODELAY of a connection that asyncio accepts."""
    loop = asyncio.get_running_loop()
    made: asyncio.Future[Any] = loop.create_future()

    class Accepts(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            made.set_result(transport)

    async with await loop.create_server(Accepts, sock=listener.dup()):
        with socket.create_connection(listener.getsockname()[:2]):
            transport = await made
            sock = transport.get_extra_info("socket")
            found = sock.proto, sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            transport.close()
    return found
