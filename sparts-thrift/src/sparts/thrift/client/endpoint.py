"""Where a service is, how it is reached, and what is said when it is not."""

from __future__ import annotations

import errno
import os
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from time import monotonic

from sparts.errors import UsageError, message_of

from thrift.transport.TTransport import TTransportException

_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")


@dataclass(frozen=True)
class Endpoint:
    """Where a service is."""

    host: str = ""
    port: int = 0
    unix: str = ""
    """The path of a Unix socket; empty: TCP."""
    path: str = ""
    """The path of its URL; empty: framed thrift, without HTTP."""
    tls: ssl.SSLContext | None = None
    server_hostname: str = ""
    """The name that its certificate has to have."""

    def __str__(self) -> str:
        where = self.unix or (f"[{self.host}]" if ":" in self.host else self.host) + f":{self.port}"
        if not self.path:
            return where
        return f"{'https' if self.tls else 'http'}://{where}{self.path}"


def tls_context(tls: bool | ssl.SSLContext) -> ssl.SSLContext | None:
    """Return the context for an argument ``tls``; True: the certificates that the system trusts."""
    return ssl.create_default_context() if tls is True else tls or None


def check_endpoint(endpoint: Endpoint, headers: Mapping[str, str]) -> Endpoint:
    """Return an endpoint that can be one.

    Raises:
        UsageError: it is neither a host and a port nor a path, or both; or there are headers that
            HTTP cannot send.
    """
    if headers and not endpoint.path:
        raise UsageError("headers are sent over HTTP only: give the client a path (path=).")
    for name, value in headers.items():
        if not _NAME.fullmatch(name) or not _VALUE.fullmatch(value):
            raise UsageError(f"headers: HTTP cannot send the header {name!r} with that value.")
    if bool(endpoint.unix) == bool(endpoint.host):
        raise UsageError("Give a client a host and a port, or the path of a Unix socket.")
    if not endpoint.unix and not 0 < endpoint.port < 65536:
        raise UsageError(f"{endpoint.port} is no port to connect to: it is one of 1 to 65535.")
    if endpoint.path and not endpoint.path.startswith("/"):
        raise UsageError(f"The path {endpoint.path!r} of a service over HTTP begins with '/'.")
    return endpoint


class Deadline:
    """The end of the time that something may take.

    Args:
        seconds: how long; None: no limit.
        what: what it is the time of, for the error.
    """

    def __init__(self, seconds: float | None, what: str) -> None:
        self._seconds = seconds
        self._what = what
        self._end = None if seconds is None else monotonic() + seconds

    def left(self) -> float | None:
        """Return how many seconds are left; None: there is no end.

        Raises:
            TTransportException: none are (``TIMED_OUT``).
        """
        if self._end is None:
            return None
        left = self._end - monotonic()
        if left <= 0:
            raise self.error()
        return left

    def error(self) -> TTransportException:
        """Return the error of the server or client that took too long."""
        return TTransportException(
            TTransportException.TIMED_OUT, f"{self._what} within {self._seconds:g} s"
        )

    def sooner(self, seconds: float | None, what: str) -> Deadline:
        """Return a deadline for a part of this: not later than this, and ``seconds`` from now."""
        part = Deadline(seconds, what)
        if self._end is not None and (part._end is None or self._end < part._end):
            return self
        return part


def connect_error(endpoint: Endpoint, error: OSError) -> TTransportException:
    """Return the error of a connection that could not be made."""
    why = os.strerror(error.errno) if error.errno and error.errno > 0 else ""
    why = why or error.strerror or message_of(error)
    if isinstance(error, ssl.SSLCertVerificationError):
        why = f"its certificate is not trusted: {error.verify_message}"
    elif isinstance(error, ssl.SSLError):
        why = f"no TLS with it: {error.reason or error}"
    elif error.errno in (errno.ECONNREFUSED, errno.ENOENT):
        why = f"{os.strerror(error.errno)}. Is it running?"
    return TTransportException(
        TTransportException.NOT_OPEN, f"Cannot connect to {endpoint}: {why}", error
    )


def closed_error() -> TTransportException:
    """Return the error of a client that was closed."""
    return TTransportException(TTransportException.NOT_OPEN, "This client is closed.")


def lost_error(endpoint: Endpoint, error: BaseException | None = None) -> TTransportException:
    """Return the error of a connection that ended before an answer had come."""
    why = f": {getattr(error, 'strerror', None) or error}" if error and str(error) else ""
    return TTransportException(
        TTransportException.END_OF_FILE,
        f"{endpoint} closed the connection before it answered{why}",
        error,
    )


def check_size(endpoint: Endpoint, header: bytes, size: int, most: int) -> None:
    """Look at the first four bytes of an answer, which say how long it is.

    Raises:
        TTransportException: it is too long, or the peer speaks something else.
    """
    if 0 <= size <= most:
        return
    kind = TTransportException.SIZE_LIMIT if size > 0 else TTransportException.NEGATIVE_SIZE
    if header == b"HTTP":
        why = "it speaks HTTP: give the client the path of its URL (path=)"
    elif header[0] in (0x80, 0x82):
        why = "it answers without frames: it has to use a framed transport"
    elif size > 0:
        why = f"its answer has {size} bytes, and {most} are the limit (max_frame=)"
    else:
        why = f"it does not speak framed thrift: its answer begins with {header!r}"
    raise TTransportException(kind, f"{endpoint}: {why}")
