"""Wrappers of requests and websockets: what they see of each."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from queue import SimpleQueue
from typing import Any

import pytest
from sparts.calls import Call
from sparts.tasks.asgi import AsgiTask
from sparts.testing.running import running
from sparts.testing.waiting import WAIT

from tests.asgi.applications import task_of
from tests.asgi.conftest import HERE, Served
from tests.asgi.test_websockets import Raw
from tests.wrapping import wrapped_by

PROXIED = {"X-Forwarded-For": "203.0.113.7", "X-Forwarded-Proto": "https"}


@contextlib.contextmanager
def watched(waits: bool, *argv: str) -> Iterator[tuple[Served, SimpleQueue[Any]]]:
    """Serve with a wrapper that notes each call: before the handler, or at its end."""
    seen: SimpleQueue[Any] = SimpleQueue()

    def note(call: Call) -> None:
        known, token = call.attributes, call.headers.get("authorization")
        how = (known.get("status"), repr(call.error))
        seen.put((call.peer, known["scheme"], known["path"], *how, token))

    def look(call: Call, proceed: Callable[[], Any]) -> Any:
        note(call)
        return proceed()

    async def wait(call: Call, proceed: Callable[[], Any]) -> None:
        await proceed()
        note(call)

    wrapping = wrapped_by(wait if waits else look, task_of(AsgiTask))
    with running(wrapping, *HERE, *argv) as service:
        yield Served(service), seen


@pytest.mark.parametrize("waits", [False, True], ids=["looks", "waits"])
def test_wrapper_sees_client_behind_trusted_proxy(waits: bool) -> None:
    with watched(waits, "--asgi-trusted", "127.0.0.1") as (served, seen):
        assert served.get("/echo", **PROXIED) == (200, b"")
        assert seen.get(timeout=WAIT)[:3] == ("203.0.113.7", "https", "/echo")
        with served.connect() as connection:
            assert Raw(connection).handshake("/socket", **PROXIED)[0] == 101
        assert seen.get(timeout=WAIT)[:3] == ("203.0.113.7", "wss", "/socket")


@pytest.mark.parametrize(("path", "status"), [("/", 101), ("/refused", 403), ("/denied", 401)])
def test_wrapper_sees_how_a_handshake_ended(path: str, status: int) -> None:
    with watched(True) as (served, seen), served.connect() as connection:
        assert Raw(connection).handshake(path)[0] == status
        connection.close()
        assert seen.get(timeout=WAIT)[3:5] == (status, "None")


@pytest.mark.parametrize("waits", [False, True], ids=["looks", "waits"])
def test_wrapped_request_that_fails_late_is_logged(
    waits: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Its wrapper learns of it, too, where that waits."""
    with watched(waits) as (served, seen):
        assert served.get("/broken-after") == (200, b"well")
        served.go_on()
        found = seen.get(timeout=WAIT)
    assert not waits or found[3:5] == (200, "RuntimeError('broken on purpose')")
    assert "RuntimeError: broken on purpose" in caplog.text


def test_values_of_one_header_are_joined() -> None:
    """A wrapper must not see only one of them: another reader could see the other."""
    with watched(False) as (served, seen), served.connect() as connection:
        head = b"GET / HTTP/1.1\r\nHost: x\r\nAuthorization: one\r\nauthorization: two\r\n\r\n"
        connection.sendall(head)
        assert seen.get(timeout=WAIT)[-1] == "one, two"
