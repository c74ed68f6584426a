"""The contract of server tasks: one that speaks first keeps it, and broken ones are found out."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
from collections.abc import Callable
from typing import Any

import pytest
from sparts.errors import OptionError
from sparts.tasks.asyncio_server import AsyncioServerTask
from sparts.testing.servers import ServerContract


class Echoes(asyncio.Protocol):
    """Gives back every byte that it gets."""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)


class EchoServer(AsyncioServerTask):
    """Gives back every byte that it gets."""

    OPT_PREFIX = "echo"

    def make_protocol(self) -> asyncio.BaseProtocol:
        return Echoes()


class EchoContract(ServerContract):
    """How to talk to an EchoServer."""

    server_task = EchoServer

    def ask(self, connection: socket.socket) -> None:
        connection.sendall(b"ping")
        assert connection.recv(4) == b"ping"


def named(server: type[EchoServer]) -> type[EchoServer]:
    server.__name__ = "EchoServer"
    server.__doc__ = EchoServer.__doc__
    return server


@named
class Answerless(EchoServer):
    class Closes(Echoes):
        def data_received(self, data: bytes) -> None:
            self.transport.close()

    make_protocol = Closes


@named
class FirstAddressOnly(EchoServer):
    def start_in_loop(self) -> None:
        super().start_in_loop()
        del self.bound_addrs[1:]


@named
class Silent(EchoServer):
    def log_started(self) -> None: ...


@named
class BindsByItself(EchoServer):
    """It opens its own sockets, again for each instance."""

    def take_sockets(self) -> list[socket.socket]:
        path = self.sock
        if path:
            mine = socket.socket(socket.AF_UNIX)
            with contextlib.suppress(OSError):
                os.unlink(path)
            mine.bind(path)
            mine.listen()
        else:
            mine = socket.create_server(("127.0.0.1", 0))
        mine.setblocking(False)
        self._sockets = [mine]
        self.bound_addrs = [mine.getsockname()]
        return self._sockets


@named
class KeepsTheSocket(EchoServer):
    kept: list[socket.socket] = []

    def take_sockets(self) -> list[socket.socket]:
        self.kept += [sock.dup() for sock in super().take_sockets()]
        return self._sockets


@named
class KeepsConnections(EchoServer):
    kept: list[socket.socket] = []

    class Keeps(Echoes):
        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            KeepsConnections.kept.append(transport.get_extra_info("socket").dup())

    make_protocol = Keeps


@named
class KeepsTheCertificate(EchoServer):
    """It makes a context of its own, once."""

    @property
    def ssl_context(self) -> ssl.SSLContext | None:
        if "context" not in vars(self) and self.tls_cert:
            self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.context.load_cert_chain(self.tls_cert)
        return vars(self).get("context")


@named
class Plain(EchoServer):
    """It does not speak TLS, whatever it was given."""

    ssl_context = None


@named
class OnePrefix(EchoServer):
    @classmethod
    def option_prefix(cls) -> str:
        return "echo"


C = EchoContract
BROKEN: list[tuple[type[EchoServer], Callable[[Any], None], str]] = [
    (Answerless, C.test_port_0_takes_a_free_port_and_bound_addrs_tells_it, "assert b'' == b'ping'"),
    (
        FirstAddressOnly,
        C.test_every_address_of_several_hosts_is_served_on_one_port,
        r"It serves \['127.0.0.1'\] alone",
    ),
    (Silent, C.test_one_line_an_address_is_logged_before_all_tasks_have_started, "It did not log"),
    (
        BindsByItself,
        C.test_a_restart_keeps_the_port_and_resets_no_connection_that_waits,
        "Connection refused",
    ),
    (
        BindsByItself,
        C.test_a_unix_socket_is_served_to_its_owner_alone_and_removed_at_the_end,
        "others can use it",
    ),
    (KeepsTheSocket, C.test_a_stop_closes_the_port_and_the_connections, "still takes connections"),
    (
        KeepsConnections,
        C.test_a_stop_closes_the_port_and_the_connections,
        "A connection stays open",
    ),
    (Plain, C.test_tls_is_spoken_with_the_certificate_that_is_given, "answers without TLS"),
    (
        KeepsTheCertificate,
        C.test_a_reload_gives_new_connections_the_new_certificate_and_keeps_the_open_ones,
        "certificate verify failed",
    ),
    (
        KeepsTheCertificate,
        C.test_clients_need_a_certificate_if_that_is_asked_for,
        "answers a client without the certificate",
    ),
    (
        OnePrefix,
        C.test_two_of_them_in_one_service_have_ports_of_their_own,
        "both have the option --echo-host",
    ),
    (OnePrefix, C.test_it_does_what_every_task_must, "do not go together"),
]


@pytest.mark.parametrize(
    ("server", "test", "told"), BROKEN, ids=[f"{b[0].__qualname__}-{b[1].__name__}" for b in BROKEN]
)
def test_a_broken_server_is_found_out(
    server: type[EchoServer],
    test: Callable[[Any], None],
    told: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if server in (KeepsConnections, BindsByItself):  # which are found out by waiting for nothing
        monkeypatch.setattr("sparts.testing.servers.WAIT", 0.2)
    contract = type("Contract", (EchoContract,), {"server_task": server})()
    try:
        with pytest.raises((AssertionError, OSError, OptionError), match=told):
            test(contract)
    finally:
        for kept in (KeepsTheSocket.kept, KeepsConnections.kept):
            for sock in kept:
                sock.close()
            kept.clear()


def test_shared_port_in_use_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that takes any port when its own is taken starts where it should not."""

    @named
    class TakesAnother(EchoServer):
        def address(self) -> Any:
            return super().address()._replace(port=0)

    contract = type("Contract", (EchoContract,), {"server_task": TakesAnother})()
    with pytest.raises(AssertionError, match="It started, although port"):
        contract.test_a_port_in_use_fails_the_start_and_names_the_option()


@named
class SpeaksFirst(EchoServer):
    """It greets, as HTTP/2 and mail servers do."""

    class Greets(Echoes):
        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            if transport.get_extra_info("sslcontext") is None:
                transport.write(b"hello\n")

    make_protocol = Greets


class TestServerThatSpeaksFirst(ServerContract):
    """It keeps the contract, too."""

    server_task = SpeaksFirst

    def ask(self, connection: socket.socket) -> None:
        connection.sendall(b"ping")
        received = b""
        while not received.endswith(b"ping"):
            part = connection.recv(65536)
            assert part
            received += part
