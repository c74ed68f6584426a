"""The private parts of uvicorn that sparts-asgi overrides or uses: are they what they were?

If one of these fails with a new uvicorn, look at what has changed before its range is raised.
"""

from __future__ import annotations

import inspect

import pytest
from sparts.tasks.asgi.cycle import Cycle, Flow
from sparts.tasks.asgi.http import Connection
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
        (Cycle, RequestResponseCycle, ["send"]),
        (Flow, FlowControl, ["resume_reading"]),
        (Connection, HttpToolsProtocol, [
            "connection_lost", "connection_made", "data_received",
            "handle_websocket_upgrade", "on_body", "on_headers_complete", "on_message_complete",
            "on_response_complete", "pause_writing", "send_400_response"]),
        (WebSocket, WebSocketsSansIOProtocol, [
            "connection_lost", "handle_connect", "send", "send_500_response"]),
    ],
)  # fmt: skip
def test_what_we_override_is_there_and_takes_same(
    ours: type, theirs: type, methods: list[str]
) -> None:
    assert overridden(ours, theirs) == methods
    for name in methods:
        taken = [len(inspect.signature(getattr(each, name)).parameters) for each in (ours, theirs)]
        assert taken[0] == taken[1], name


def test_cycle_of_uvicorn_gets_what_we_pass() -> None:
    taken = list(inspect.signature(RequestResponseCycle).parameters)
    source = inspect.getsource(Connection._make_cycle)
    assert [name for name in taken if f"{name}=" not in source] == []
