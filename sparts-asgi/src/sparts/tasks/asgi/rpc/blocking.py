"""Connections of a client whose calls wait in threads, and their pool."""

from __future__ import annotations

import contextlib
import select
import socket
from collections.abc import Iterator
from time import monotonic
from typing import TYPE_CHECKING

import httptools
from sparts.rpc.errors import UnavailableError
from sparts.tasks.asgi.rpc.exchange import Response, unexpected

if TYPE_CHECKING:
    import ssl

    from sparts.rpc.clients import OutgoingCall
    from sparts.tasks.asgi.rpc.exchange import Place

MOST_IDLE = 16
"""Connections that are kept for later calls."""
_READ = 1 << 18


class Pool:
    """Connections to one server; from any thread.

    Args:
        place: where the server is.
        tls: the TLS context; None: it speaks no TLS.
    """

    def __init__(self, place: Place, tls: ssl.SSLContext | None) -> None:
        self._place, self._tls = place, tls
        self._idle: list[socket.socket] = []
        self._closed = False

    def ask(self, call: OutgoingCall, request: bytes) -> Response:
        """Send a request, and return its whole response.

        Raises:
            UnavailableError: the server cannot be reached, or the connection was lost.
            DeadlineExceededError: the time of the call is over.
        """
        response = Response()
        for _ in self._exchange(call, request, response):
            pass
        return response

    def stream(self, call: OutgoingCall, request: bytes, response: Response) -> Iterator[bytes]:
        """Send a request, and give the parts of the response's body as they come."""
        for _ in self._exchange(call, request, response):
            if response.started and (data := response.take()):
                yield data
        if data := response.take():
            yield data

    def close(self) -> None:
        """Close the connections that nobody uses, and keep none from now on."""
        self._closed = True
        with contextlib.suppress(IndexError):  # threads that call take some too
            while True:
                self._idle.pop().close()

    def _exchange(self, call: OutgoingCall, request: bytes, response: Response) -> Iterator[None]:
        """Send a request, and yield after each part of the response."""
        sock = self._connection(call)
        keep = False
        try:
            with _explained(call):
                sock.settimeout(call.seconds_left())
                sock.sendall(request)
                while not response.complete:
                    sock.settimeout(call.seconds_left())
                    data = sock.recv(_READ)
                    if data:
                        response.feed(data)
                    else:
                        response.ended()
                        if not response.complete:
                            raise UnavailableError("The server has closed the connection.")
                    if not response.complete:
                        yield
            keep = response.keeps_alive and len(self._idle) < MOST_IDLE
        finally:
            if keep:
                self._idle.append(sock)
            else:
                sock.close()
            if self._closed:
                self.close()

    def _connection(self, call: OutgoingCall) -> socket.socket:
        while self._idle:
            try:
                sock = self._idle.pop()
            except IndexError:  # another thread was faster
                break
            if not _readable(sock):
                return sock
            sock.close()  # the server has closed it
        try:
            return self._connect(call.seconds_left())
        except TimeoutError:
            raise call.late() from None
        except OSError as error:
            raise UnavailableError(
                f"{self._place.path or self._place.authority} cannot be reached: {error}",
                maybe_run=False,
            ) from error

    def _connect(self, seconds: float | None) -> socket.socket:
        place = self._place
        until = None if seconds is None else monotonic() + seconds
        if place.path:
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        else:
            sock = socket.create_connection((place.host, place.port), seconds)
        try:
            if place.path:
                sock.settimeout(seconds)
                sock.connect(place.path)
            else:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._tls is not None:
                if until is not None:
                    sock.settimeout(max(0.001, until - monotonic()))
                sock = self._tls.wrap_socket(sock, server_hostname=place.host)
        except BaseException:
            sock.close()
            raise
        return sock


def _readable(sock: socket.socket) -> bool:
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return bool(poll.poll(0))


@contextlib.contextmanager
def _explained(call: OutgoingCall) -> Iterator[None]:
    try:
        yield
    except TimeoutError:
        raise call.late() from None
    except OSError as error:
        raise UnavailableError(f"The connection was lost: {error}") from error
    except httptools.HttpParserError as error:
        raise UnavailableError(unexpected(error)) from error
