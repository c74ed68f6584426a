"""What sparts-tornado overrides of Tornado without Tornado's having promised it.

If one of these fails with a new Tornado, look at what has changed before its range is raised.
"""

from __future__ import annotations

import inspect

import pytest
from tornado.http1connection import HTTP1Connection, HTTP1ServerConnection
from tornado.httpserver import HTTPServer
from tornado.iostream import BaseIOStream, IOStream, SSLIOStream
from tornado.web import RequestHandler
from tornado.websocket import WebSocketProtocol13


@pytest.mark.parametrize(
    ("owner", "name", "parameters", "why"),
    [
        (RequestHandler, "_execute", ["self", "transforms", "args", "kwargs"],
         "calls.py wraps it, to have plugins wrap requests"),
        (HTTPServer, "handle_stream", ["self", "stream", "address"],
         "server.py watches each connection from there"),
        (HTTPServer, "start_request", ["self", "server_conn", "request_conn"],
         "server.py waits for the next request of a connection from there"),
        (HTTPServer, "on_close", ["self", "server_conn"],
         "server.py learns from it that a connection has ended"),
        (HTTP1Connection, "set_max_body_size", ["self", "max_body_size"],
         "application.py takes its place, for handlers that raise the limit"),
        (IOStream, "close_fd", ["self"], "streams.py lets a client read why it was refused"),
        (IOStream, "read_from_fd", ["self", "buf"],
         "streams.py counts the unfinished messages of websockets"),
        (IOStream, "write_to_fd", ["self", "data"], "streams.py counts what was sent"),
        (SSLIOStream, "write_to_fd", ["self", "data"], "streams.py counts what was sent"),
    ],
)  # fmt: skip
def test_what_is_overridden_is_there(
    owner: type, name: str, parameters: list[str], why: str
) -> None:
    found = getattr(owner, name, None)
    assert found is not None, f"Tornado has no {owner.__name__}.{name} any more: {why}."
    taken = list(inspect.signature(found).parameters)
    assert taken == parameters, f"{owner.__name__}.{name} takes {taken} now: {why}."


@pytest.mark.parametrize(
    ("owner", "name"),
    [(BaseIOStream, "_read_buffer_size"), (WebSocketProtocol13, "_fragmented_message_buffer")],
)
def test_unfinished_message_is_kept_there(owner: type, name: str) -> None:
    assert f"self.{name}" in inspect.getsource(owner), f"streams.py looks at {name}."


def test_refused_headers_leave_nothing_to_write() -> None:
    assert "self._pending_write = self.stream.write(data)" in inspect.getsource(HTTP1Connection)
    assert "self._headers_written = True" in inspect.getsource(RequestHandler)


def test_each_turn_asks_for_the_next_request() -> None:
    source = inspect.getsource(HTTP1ServerConnection)
    for call in ("delegate.start_request(self, conn)", "delegate.on_close(self)", "self.stream"):
        assert call in source, f"HTTP1ServerConnection has no {call}, on which server.py relies."
