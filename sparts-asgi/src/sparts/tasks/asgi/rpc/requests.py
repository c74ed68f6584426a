"""What an ASGI application reads of a request, and how it answers."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from time import monotonic
from typing import Any, NamedTuple

from sparts.calls import joined
from sparts.tasks.asgi.rpc.problems import Problem, encoded, headers_of

TIMEOUT = b"x-timeout-ms"
"""The header that has how many milliseconds the caller waits."""
JSON = b"application/json"
JSON_TYPE = (b"content-type", JSON)


class GoneError(Exception):
    """The client has gone before its request was complete."""


class Asked(NamedTuple):
    """The headers that matter; see `asked`.

    Attributes:
        content_type: the media type of the body, in lower case, without parameters.
        accept: what the client takes.
        deadline: when it gives up, by `time.monotonic`; None: it does not say.
        foreign: whether a page of another origin asks, as the browser says.
    """

    content_type: bytes
    accept: bytes
    deadline: float | None
    foreign: bool


def asked(scope: Any) -> Asked:
    """Read the headers of a request."""
    content_type = accept = b""
    deadline: float | None = None
    foreign = False
    for name, value in scope["headers"]:
        if name == b"content-type":
            content_type = value
        elif name == b"accept":
            accept = value
        elif name == b"sec-fetch-site":
            foreign = value in (b"cross-site", b"same-site")
        elif name == TIMEOUT and value[:12].isdigit():
            deadline = monotonic() + int(value[:12]) / 1000.0
    if content_type is not JSON and content_type != JSON:
        content_type = content_type.partition(b";")[0].strip().lower()
    return Asked(content_type, accept, deadline, foreign)


def is_json(content_type: bytes) -> bool:
    """Return whether a media type is JSON's, which no page of another origin can send unasked."""
    return content_type == JSON or (
        content_type.startswith(b"application/") and content_type.endswith(b"+json")
    )


class FromHTTP:
    """The origin of a call, see `sparts.rpc.served_calls.Origin`."""

    __slots__ = ("_scope",)

    def __init__(self, scope: Any) -> None:
        self._scope = scope

    @property
    def deadline(self) -> float | None:
        """When the caller gives up, by `time.monotonic`; None: it does not say."""
        return asked(self._scope).deadline

    @property
    def peer(self) -> str:
        """The address of the client."""
        client = self._scope.get("client")
        return client[0] if client else ""

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers of the request."""
        pairs = self._scope["headers"]
        return joined((name.decode("latin-1"), value.decode("latin-1")) for name, value in pairs)


async def body_of(receive: Any) -> bytes:
    """Read the body of a request.

    Raises:
        GoneError: the client has gone.
    """
    message = await receive()
    body: bytes = message.get("body", b"")
    if message["type"] == "http.request" and not message.get("more_body"):
        return body
    parts = [body]
    while message.get("more_body"):
        message = await receive()
        parts.append(message.get("body", b""))
    if message["type"] != "http.request":
        raise GoneError
    return b"".join(parts)


async def answer(
    send: Any, status: int, body: bytes, headers: list[tuple[bytes, bytes]] | None = None
) -> None:
    """Send a whole response; without ``headers``, JSON."""
    known = [JSON_TYPE] if headers is None else list(headers)
    known.append((b"content-length", b"%d" % len(body)))
    await send({"type": "http.response.start", "status": status, "headers": known})
    await send({"type": "http.response.body", "body": body})


async def answer_problem(send: Any, problem: Problem, *headers: tuple[bytes, bytes]) -> None:
    """Send an error."""
    await answer(send, problem.status, encoded(problem), [*headers_of(problem), *headers])


@contextmanager
def cancelled_when_lost(scope: Any) -> Iterator[None]:
    """Cancel what runs here when the client goes, if the server says so; then raise `GoneError`.

    `AsgiTask` calls ``scope["sparts.lost"]`` when a connection is lost.
    """
    task, lost = asyncio.current_task(), False

    def cancel() -> None:
        nonlocal lost
        lost = True
        if task is not None:
            task.cancel()

    scope["sparts.lost"] = cancel
    try:
        yield
    except asyncio.CancelledError:
        if not lost:
            raise
        raise GoneError from None
    finally:
        del scope["sparts.lost"]
