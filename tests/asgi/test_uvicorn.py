"""The private parts of uvicorn that sparts-asgi overrides or uses: are they what they were?

If one of these fails with a new uvicorn, look at what has changed before its range is raised.
"""

from __future__ import annotations

import asyncio
import inspect
from typing import Any
from unittest.mock import Mock

import pytest
from sparts.tasks.asgi.cycle import Arrival, Cycle, Flow, Output
from sparts.tasks.asgi.http import Connection
from sparts.tasks.asgi.refusing import Refusing
from sparts.tasks.asgi.websockets import WebSocket
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol


def overridden(ours: type, theirs: type) -> list[str]:
    """Return the methods of ours that stand in for one of theirs."""
    mine = {name for name in vars(ours) if callable(getattr(ours, name))}
    return sorted(name for name in mine if name in vars(theirs) and name != "__init__")


@pytest.mark.parametrize(
    ("ours", "theirs", "methods"),
    [
        (Cycle, RequestResponseCycle, ["receive", "send"]),
        (Flow, FlowControl, ["resume_reading"]),
        (Connection, HttpToolsProtocol, [
            "connection_lost", "connection_made", "data_received",
            "handle_websocket_upgrade", "on_body", "on_headers_complete", "on_message_complete",
            "on_response_complete", "pause_writing"]),
        (Refusing, HttpToolsProtocol, ["send_400_response"]),
        (WebSocket, WebSocketsSansIOProtocol, [
            "connection_lost", "data_received", "handle_connect", "handle_cont", "receive",
            "send", "send_500_response", "send_receive_event_to_app"]),
    ],
)  # fmt: skip
def test_what_we_override_is_there_and_takes_same(
    ours: type, theirs: type, methods: list[str]
) -> None:
    assert overridden(ours, theirs) == methods
    for name in methods:
        taken = [len(inspect.signature(getattr(each, name)).parameters) for each in (ours, theirs)]
        assert taken[0] == taken[1], name


def test_cycle_has_what_that_of_uvicorn_has() -> None:
    """With the same values, but for what it has of its own in their place."""
    connection, names = Mock(), inspect.signature(RequestResponseCycle).parameters
    same = {name: getattr(connection, name) for name in ("scope", "flow", "logger")}
    given = {**dict.fromkeys(names, False), **same, "keep_alive": True}
    ours = Cycle(connection, keep_alive=True)
    for name, value in vars(RequestResponseCycle(**given)).items():
        assert hasattr(ours, name), name
        if name in same or name not in names:
            assert getattr(ours, name) in (value, connection.expect_100_continue), name


def test_event_of_cycle_is_as_that_of_asyncio() -> None:
    async def check(event: Any) -> list[bool]:
        waiting = [asyncio.ensure_future(event.wait()) for _ in range(3)]
        await asyncio.sleep(0)
        waiting[1].cancel()
        event.set()
        event.set()
        await asyncio.wait(waiting)
        await event.wait()
        event.clear()
        late = asyncio.ensure_future(event.wait())
        await asyncio.sleep(0)
        found = [each.cancelled() for each in waiting] + [late.done()]
        event.set()
        await late
        return found

    both = [asyncio.run(check(event())) for event in (asyncio.Event, Arrival)]
    assert both == [[False, True, False, False]] * 2


def test_small_response_is_sent_at_once() -> None:
    sent: list[bytes] = []
    output = Output(Mock(write=sent.append, is_closing=lambda: False))
    for body in (b"body", bytes(100_000)):
        output.begins = True
        output.write(b"head")
        output.write(body)
    assert sent == [b"headbody", b"head", bytes(100_000)]
