"""Requests and responses of HTTP/1.1, as bytes, for clients; parsed by httptools."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

import httptools
from sparts.errors import UsageError


class Place(NamedTuple):
    """Where a server is.

    Attributes:
        host: its host; of a Unix socket: ``localhost``.
        port: its port.
        path: of a Unix socket; else empty.
        tls: whether it speaks TLS.
        base: what the paths of methods begin with, ``/v1``; mostly empty.
    """

    host: str
    port: int
    path: str
    tls: bool
    base: str

    @property
    def authority(self) -> str:
        """What the header ``Host`` says."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port in (0, 443 if self.tls else 80) else f"{host}:{self.port}"


def place_of(url: str) -> Place:
    """Return where a URL leads: ``http://host:port/base``, ``https:``, ``unix:/run/a.sock``.

    Raises:
        UsageError: it is no such URL.
    """
    parts = urlsplit(url)
    if parts.scheme == "unix":
        return Place("localhost", 0, unquote(parts.path), False, "")
    try:
        port = parts.port
    except ValueError as error:
        raise UsageError(f"{url!r} has no valid port: {error}") from error
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UsageError(f"{url!r} is no URL of a host: http://HOST:PORT")
    tls = parts.scheme == "https"
    port = (443 if tls else 80) if port is None else port
    return Place(parts.hostname, port, "", tls, parts.path.rstrip("/"))


def head_of(headers: Mapping[str, str]) -> bytes:
    """Return the lines of some headers.

    Raises:
        ValueError: one would break the request.
    """
    lines = []
    for name, value in headers.items():
        if not name or any(c in "\r\n\0" for c in name + value) or ":" in name or " " in name:
            raise ValueError(f"{name!r}: {value!r} is no header.")
        lines.append(f"{name}: {value}\r\n")
    return "".join(lines).encode("latin-1")


class Response:
    """A response, as it comes in: give its parser `feed` what is read."""

    def __init__(self) -> None:
        self.status: Any = 0
        self.content_type: str = ""
        self.retry_after: float | None = None
        self.parts: list[bytes] = []
        """The body, as far as it has come; take it with `take`."""
        self.started: Any = False
        self.complete: Any = False
        """Whether all headers, and all of the body, have come."""
        self._parser = httptools.HttpResponseParser(self)
        self.feed: Any = self._parser.feed_data
        """Takes in bytes; raises httptools.HttpParserError for what is no HTTP."""

    @property
    def keeps_alive(self) -> bool:
        """Whether the connection can be used again."""
        return self.complete and bool(self._parser.should_keep_alive())

    def take(self) -> bytes:
        """Return what has come of the body since the last time."""
        if len(self.parts) == 1:
            return self.parts.pop()
        data = b"".join(self.parts)
        self.parts.clear()
        return data

    def ended(self) -> None:
        """Note that the server has closed the connection, which ends a body without a length."""
        if self.started and not self._has_length:
            self.complete = True

    _has_length = False

    # -- called by httptools -----------------------------------------------------------------------

    def on_header(self, name: bytes, value: bytes) -> None:
        """Note a header that matters."""
        name = name.lower()
        if name == b"content-type":
            self.content_type = value.decode("latin-1").lower()
        elif name == b"retry-after" and value.isdigit():  # it may also be a date
            self.retry_after = float(value[:10])
        elif name in (b"content-length", b"transfer-encoding"):
            self._has_length = True

    def on_headers_complete(self) -> None:
        """Note the status."""
        self.status = self._parser.get_status_code()
        self.started = self.status >= 200

    def on_body(self, body: bytes) -> None:
        """Keep a part of the body."""
        self.parts.append(body)

    def on_message_complete(self) -> None:
        """Note the end; of an interim response (100 Continue) it is none."""
        self.complete = self.started


class Events:
    """Reads server-sent events from the parts of a body."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Give the type and the data of each event that is complete now."""
        *events, self._rest = (self._rest + data).split(b"\n\n")
        for event in events:
            kind, lines = b"message", []
            for line in event.split(b"\n"):
                name, _, value = line.partition(b": ")
                if name == b"event":
                    kind = value
                elif name == b"data":
                    lines.append(value)
            yield kind, b"\n".join(lines)


def unexpected(error: Exception) -> Any:
    """Return what to say of what is no HTTP."""
    return f"The server's answer is no HTTP: {error}"
