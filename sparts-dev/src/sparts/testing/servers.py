"""The contract of server tasks, as tests that the tests of any server inherit.

    class TestMyServer(ServerContract):
        server_task = MyServerTask

        def ask(self, connection: socket.socket) -> None:
            connection.sendall(b"ping")
            assert connection.recv(4) == b"pong"

pytest runs the methods; so does unittest, with `unittest.TestCase` as a further base.
"""

# ruff: noqa: S101 - the assertions of tests

from __future__ import annotations

import contextlib
import os
import socket
import stat
import tempfile
from abc import abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

from sparts.errors import StartError
from sparts.net.listeners import format_address
from sparts.options import flag_of
from sparts.states import ServiceStatus
from sparts.testing.certificates import FIRST_CERTIFICATE, SECOND_CERTIFICATE
from sparts.testing.conformance import check_task
from sparts.testing.leftovers import Leftovers
from sparts.testing.running import ServiceFactory, make_service, running, service_of
from sparts.testing.waiting import WAIT, log_of, restart, wait_ready, wait_status

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator, Sequence

    from sparts.vservice import VService
    from sparts.vtask import VTask

LOCAL = "127.0.0.1"

#: The contracts whose server has run in this process before.
_warm: set[type[ServerContract]] = set()


class ServerContract:
    """What holds for every task that derives from `sparts.net.listeners.Listening`.

    Override `server_task` and `ask`.
    """

    server_task: ClassVar[type[VTask]]
    """The server task under test."""
    argv: Sequence[str] = ()
    """What the services' command lines hold in addition."""

    @abstractmethod
    def ask(self, connection: socket.socket) -> None:
        """Ask the server something over a new connection, and fail if it does not answer well.

        Called in the thread of the test; the connection has a time limit and is closed afterwards.
        """

    # -- helpers -----------------------------------------------------------------------------------

    def flag(self, name: str) -> str:
        """Return the flag of one of the server's options."""
        return flag_of(self.server_task, name)

    def here(self, port: int = 0) -> list[str]:
        """Return the command line that has the server listen on a port of this host alone."""
        return [self.flag("host"), LOCAL, self.flag("port"), str(port), *self.argv]

    @contextlib.contextmanager
    def running(self, *argv: str) -> Iterator[VService]:
        """Run a service of the server, which ends in order and leaves nothing behind."""
        factory = ServiceFactory()
        if type(self) not in _warm:
            _warm.add(type(self))
            factory.warm_up(service_of(self.server_task), *self.here())
        try:
            yield factory(service_of(self.server_task), *(argv or self.here()))
        finally:
            factory.close()

    def server(self, service: VService) -> Any:
        """Return the server task of a service."""
        return service.requireTask(self.server_task)

    @contextlib.contextmanager
    def connected(self, address: Any) -> Iterator[socket.socket]:
        """Give a new connection to an address as `socket.getsockname` returns it."""
        family = socket.AF_UNIX if isinstance(address, str | bytes) else socket.AF_INET
        with socket.socket(family) as connection:
            connection.settimeout(WAIT)
            connection.connect(address)
            yield connection

    def ask_at(self, address: Any) -> None:
        """Ask the server over a new connection."""
        with self.connected(address) as connection:
            self.ask(connection)

    @contextlib.contextmanager
    def running_tls(self, certificate: str, *argv: str) -> Iterator[tuple[VService, str]]:
        """Run a service of the server that speaks TLS; give it and the path of its certificate."""
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "server.pem")
            _write(path, certificate)
            with self.running(*self.here(), self.flag("tls-cert"), path, *argv) as service:
                yield service, path

    @contextlib.contextmanager
    def connected_tls(self, address: Any, trusted: str, own: str = "") -> Iterator[ssl.SSLSocket]:
        """Give a new TLS connection, the handshake done.

        Args:
            address: where to.
            trusted: PEM of the one certificate that the server's has to be.
            own: path of a certificate to show to the server.
        """
        import ssl

        context = ssl.create_default_context(cadata=trusted[trusted.index("-----BEGIN CERT") :])
        if own:
            context.load_cert_chain(own)
        with (
            self.connected(address) as plain,
            context.wrap_socket(plain, server_hostname="localhost") as connection,
        ):
            yield connection

    # -- the contract ------------------------------------------------------------------------------

    def test_it_does_what_every_task_must(self) -> None:
        """See `check_task`."""
        check_task(self.server_task, *self.here())

    def test_port_0_takes_a_free_port_and_bound_addrs_tells_it(self) -> None:
        """And it is served there."""
        with self.running() as service:
            ((host, port),) = self.server(service).bound_addrs
            assert host == LOCAL
            assert port > 0
            self.ask_at((host, port))

    def test_every_address_of_several_hosts_is_served_on_one_port(self) -> None:
        """Separated by commas."""
        hosts = [self.flag("host"), f"{LOCAL},127.0.0.2", self.flag("port"), "0", *self.argv]
        with self.running(*hosts) as service:
            addresses = self.server(service).bound_addrs
            hosts_served = [host for host, _ in addresses]
            assert hosts_served == [LOCAL, "127.0.0.2"], f"It serves {hosts_served} alone."
            assert len({port for _, port in addresses}) == 1
            for address in addresses:
                self.ask_at(address)

    def test_all_addresses_of_both_families_are_served_on_one_port(self) -> None:
        """``--PREFIX-host ::``, where the system has IPv6; IPv4 comes first."""
        if not socket.has_dualstack_ipv6():
            return
        hosts = [self.flag("host"), "::", self.flag("port"), "0", *self.argv]
        with self.running(*hosts) as service:
            server = self.server(service)
            assert server.bound_addrs == [*server.bound_v4_addrs, *server.bound_v6_addrs]
            ((_, port),), ((_, same, *_),) = server.bound_v4_addrs, server.bound_v6_addrs
            assert port == same
            for host in (LOCAL, "::1"):
                with socket.create_connection((host, port), WAIT) as connection:
                    self.ask(connection)

    def test_one_line_an_address_is_logged_before_all_tasks_have_started(self) -> None:
        """``NAME Server Started on HOST:PORT``."""
        service = make_service(service_of(self.server_task), *self.here())
        with log_of(service) as log:
            thread = service.startBG()
            try:
                wait_ready(service)
                (address,) = self.server(service).bound_addrs
            finally:
                service.shutdown()
                thread.join()
        name = self.server_task.__name__
        line = f"INFO:Service.{name}:{name} Server Started on {format_address(address)}"
        assert line in log.items, f"It did not log {line!r}, but: {log.items}"
        assert log.items.index(line) < log.items.index("DEBUG:Service:All tasks started")

    def test_a_port_in_use_fails_the_start_and_names_the_option(self) -> None:
        """Nothing is left of that start."""
        with socket.create_server((LOCAL, 0)) as taken:
            port = taken.getsockname()[1]
            before = Leftovers()
            try:
                with running(service_of(self.server_task), *self.here(port)):
                    raise AssertionError(f"It started, although port {port} was taken.")
            except StartError as error:
                message = str(error)
            before.check("The start that failed")
        where = f"{self.flag('port')}: {LOCAL}:{port}"
        known = f"{where} is in use by another process. Stop it, or choose another."
        assert message == known, message

    def test_a_unix_socket_is_served_to_its_owner_alone_and_removed_at_the_end(self) -> None:
        """``--PREFIX-sock PATH``."""
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "socket")
            with self.running(self.flag("sock"), path, *self.argv) as service:
                assert self.server(service).bound_addrs == [path]
                mode = stat.S_IMODE(os.stat(path).st_mode)
                assert mode == 0o600, f"{path} has the mode {mode:o}: others can use it."
                self.ask_at(path)
            assert os.listdir(folder) == [], f"{path} is left."

    def test_tls_is_spoken_with_the_certificate_that_is_given(self) -> None:
        """``--PREFIX-tls-cert FILE``; who speaks otherwise gets nothing and disturbs nobody."""
        with self.running_tls(FIRST_CERTIFICATE) as (service, _):
            (address,) = self.server(service).bound_addrs
            for spoken in (b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\xff\xff" + b"\0" * 70000):
                with self.connected(address) as plain, contextlib.suppress(ConnectionError):
                    plain.sendall(spoken)
                    answer = plain.recv(65536)
                    assert answer[:1] in (b"", b"\x15"), f"It answers without TLS: {answer!r}"
            with self.connected_tls(address, FIRST_CERTIFICATE) as connection:
                assert connection.version() in ("TLSv1.2", "TLSv1.3")
                self.ask(connection)

    def test_a_reload_gives_new_connections_the_new_certificate_and_keeps_the_open_ones(
        self,
    ) -> None:
        """Also when it is the second, and after one that was broken."""
        with self.running_tls(FIRST_CERTIFICATE) as (service, path):
            (address,) = self.server(service).bound_addrs
            with self.connected_tls(address, FIRST_CERTIFICATE) as before:
                for content in (SECOND_CERTIFICATE, FIRST_CERTIFICATE, SECOND_CERTIFICATE, ""):
                    _write(path, content)
                    service._instance.reloading.reload()
                    with self.connected_tls(address, content or SECOND_CERTIFICATE) as connection:
                        self.ask(connection)
                self.ask(before)
            (warning,) = service.getWarnings().values()
            assert self.flag("tls-cert") in warning

    def _answered(self, address: Any, shown: str) -> bool:
        """Return whether a TLS client is answered; one that is refused may see an end (TLS 1.3)."""
        try:
            with self.connected_tls(address, FIRST_CERTIFICATE, shown) as connection:
                self.ask(connection)
        except TimeoutError:
            raise
        except Exception:  # of `ask`, too
            return False
        return True

    def test_clients_need_a_certificate_if_that_is_asked_for(self) -> None:
        """``--PREFIX-tls-ca FILE``."""
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "client.pem")
            _write(path, SECOND_CERTIFICATE)
            with self.running_tls(FIRST_CERTIFICATE, self.flag("tls-ca"), path) as (service, own):
                (address,) = self.server(service).bound_addrs
                for shown in ("", own):
                    assert not self._answered(address, shown), (
                        "It answers a client without the certificate."
                    )
                with self.connected_tls(address, FIRST_CERTIFICATE, path) as connection:
                    self.ask(connection)

    def test_a_restart_keeps_the_port_and_resets_no_connection_that_waits(self) -> None:
        """Also where the port was taken freely."""
        early: list[socket.socket] = []
        with self.running() as service, contextlib.ExitStack() as stack:
            (address,) = self.server(service).bound_addrs

            def connect() -> None:  # nobody accepts just now
                early.append(stack.enter_context(self.connected(address)))

            new = restart(service, between=connect)
            assert self.server(new) is not self.server(service)
            assert self.server(new).bound_addrs == [address]
            self.ask(early[0])
            self.ask_at(address)

    def test_failing_accepts_are_a_warning_until_they_work_again(self) -> None:
        """The server pauses, fails no worker, and accepts again."""
        with self.running() as service, contextlib.ExitStack() as stack:
            server = self.server(service)
            (address,) = server.bound_addrs
            (listener,) = service.listeners.duplicates(server.name)
            stack.enter_context(listener)
            with log_of(service) as log:
                listener.shutdown(socket.SHUT_RDWR)  # the system refuses each accept from now on
                log.wait_for_line(f"WARNING:Service:{server.name}: No connection can be accepted")
                wait_status(service, ServiceStatus.WARNING)
                (warning,) = service.getWarnings().values()
                assert "No connection can be accepted" in warning
                listener.bind(address)  # the system had chosen the port, and takes it back
                listener.listen()
                self.ask_at(address)
                log.wait_for_line("INFO:.*No longer true: No connection can be accepted")
            assert service.getWarnings() == {}
            lines = [line for line in log.items if "No connection can be accepted" in line]
            assert len(lines) == 3, lines
            assert not any("Traceback" in line for line in log.items), log.items
            self.ask_at(address)

    def test_a_stop_ends_a_pause_of_failing_accepts(self) -> None:
        """And leaves nothing behind."""
        with self.running() as service:
            server = self.server(service)
            (listener,) = service.listeners.duplicates(server.name)
            with listener, log_of(service) as log:
                listener.shutdown(socket.SHUT_RDWR)
                log.wait_for_line(f"WARNING:Service:{server.name}: No connection can be accepted")

    def test_a_stop_closes_the_port_and_the_connections(self) -> None:
        """A client that waits learns of it; another is refused."""
        with contextlib.ExitStack() as stack:
            with running(service_of(self.server_task), *self.here()) as service:
                (address,) = self.server(service).bound_addrs
                self.ask_at(address)
                idle = stack.enter_context(self.connected(address))
                self.ask_at(address)  # `idle` came before: it has been accepted
            try:
                while idle.recv(65536):  # some servers speak first
                    pass
            except TimeoutError:
                raise AssertionError("A connection stays open after the stop.") from None
            except ConnectionError:
                pass
            try:
                with socket.create_connection(address, WAIT):
                    raise AssertionError(f"{address} still takes connections.")
            except ConnectionRefusedError:
                return

    def test_two_of_them_in_one_service_have_ports_of_their_own(self) -> None:
        """The second has a name and a prefix of its own."""
        other: Any = type("second", (self.server_task,), {"OPT_PREFIX": "second"})
        argv = [*self.here(), "--second-host", LOCAL, "--second-port", "0"]
        with running(service_of(self.server_task, other), *argv) as service:
            names = (self.server_task.__name__, "second")
            addresses = {service.requireTask(name).bound_addrs[0] for name in names}
            assert len(addresses) == 2
            for address in addresses:
                self.ask_at(address)


def _write(path: str, content: str) -> None:
    with open(path, "w", encoding="ascii") as file:
        file.write(content)
