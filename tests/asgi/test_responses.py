"""AsgiTask: responses without a body, and heads that HTTP does not allow."""

from __future__ import annotations

from typing import Any

import pytest
from sparts.testing import log_of

from tests.asgi.conftest import Served
from tests.http_contract import rest

LENGTH = (b"content-length", b"5")


def answering(status: Any, *headers: tuple[bytes, bytes], body: bytes = b"") -> Any:
    """Return what makes an application that has one answer, and another one at ``/next``."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            raise RuntimeError("not spoken here")
        first, sent = {"status": status, "headers": headers}, body
        if scope["path"] == "/next":
            first, sent = {"status": 200, "headers": [LENGTH]}, b"hello"
        await send({"type": "http.response.start", **first})
        await send({"type": "http.response.body", "body": sent, "more_body": True})
        await send({"type": "http.response.body"})

    return lambda task: app


def ask(served: Served, method: bytes = b"GET") -> tuple[bytes, bytes]:
    """Ask twice over one connection; return the head of the first answer, and what follows it."""
    with served.connect() as connection:
        connection.sendall(method + b" / HTTP/1.1\r\nHost: x\r\n\r\n")
        connection.sendall(b"GET /next HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        head, _, follows = rest(connection).partition(b"\r\n\r\n")
    return head, follows


@pytest.mark.parametrize("body", [b"", b"hello"], ids=["nothing", "body"])
@pytest.mark.parametrize("length", [(), (LENGTH,)], ids=["without length", "with length"])
@pytest.mark.parametrize("status", [204, 304])
def test_response_without_body_is_followed_by_next(
    serve: Any, status: int, length: tuple[tuple[bytes, bytes], ...], body: bytes
) -> None:
    """A 304 may say how long a 200 would be, and applications send bodies by mistake."""
    served = serve(app=answering(status, *length, body=body))
    head, follows = ask(served)
    assert head.startswith(b"HTTP/1.1 %d " % status)
    assert follows.startswith(b"HTTP/1.1 200 OK\r\n")
    served.wait_for_counter('responses{status="lost"}', 0)


@pytest.mark.parametrize("method", [b"GET", b"HEAD"])
@pytest.mark.parametrize(
    "answer",
    [
        (200, (b"x-name", b"a\r\nx-evil: 1")), (200, (b"x-name: a\r\nx-evil", b"1")),
        (200, (b"content-length", b"five")), (103,), (101,), (999,), ("200",), (None,),
    ],
)  # fmt: skip
def test_head_that_cannot_be_sent_is_500(serve: Any, answer: Any, method: bytes) -> None:
    served = serve(app=answering(*answer))
    with log_of(served.service) as log:
        head, follows = ask(served, method)
        log.wait_for_line("ERROR:Service.AsgiTask:Exception in ASGI application")
    assert head.startswith(b"HTTP/1.1 500 Internal Server Error\r\n")
    assert b"evil" not in head
    assert follows.strip() == (b"" if method == b"HEAD" else b"Internal Server Error")
    assert served.counter('responses{status="5xx"}') == 1
    assert served.counter('responses{status="lost"}') == 0
