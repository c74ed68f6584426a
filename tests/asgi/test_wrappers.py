"""Wrappers of requests and websockets: what they see of each."""

from __future__ import annotations

from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

import pytest
from sparts.calls import Call
from sparts.hookspecs import hookimpl
from sparts.tasks.asgi import AsgiTask
from sparts.testing.running import running
from sparts.testing.waiting import WAIT
from sparts.vservice import VService

from tests.asgi.applications import task_of
from tests.asgi.conftest import HERE, Served
from tests.asgi.test_websockets import Raw

PROXIED = {"X-Forwarded-For": "203.0.113.7", "X-Forwarded-Proto": "https"}


class Watching:
    """Notes each call: by a wrapper that only looks, or by one that waits for its end."""

    def __init__(self, waits: bool) -> None:
        self.waits = waits
        self.seen: SimpleQueue[tuple[Any, ...]] = SimpleQueue()

    @hookimpl
    def sparts_call_wrap(self) -> Any:
        """Wrap all calls."""
        return self.wait if self.waits else self.look

    def note(self, call: Call) -> None:
        """Note what is known of a call now."""
        known = call.attributes
        self.seen.put(
            (call.peer, known["scheme"], known["path"], known.get("status"), repr(call.error),
             call.headers.get("authorization"))
        )  # fmt: skip

    def look(self, call: Call, proceed: Callable[[], Any]) -> Any:
        """Note it before the handler runs."""
        self.note(call)
        return proceed()

    async def wait(self, call: Call, proceed: Callable[[], Any]) -> None:
        """Note it at the end."""
        await proceed()
        self.note(call)


def wrapping(plugin: Watching) -> type[VService]:
    class Wrapping(VService):
        TASKS = [task_of(AsgiTask)]

        def initService(self) -> None:  # noqa: N802
            self.hooks.register(plugin)

    return Wrapping


@pytest.mark.parametrize("waits", [False, True], ids=["looks", "waits"])
def test_wrapper_sees_client_behind_trusted_proxy(waits: bool) -> None:
    plugin = Watching(waits)
    with running(wrapping(plugin), *HERE, "--asgi-trusted", "127.0.0.1") as service:
        served = Served(service)
        assert served.get("/echo", **PROXIED) == (200, b"")
        assert plugin.seen.get(timeout=WAIT)[:3] == ("203.0.113.7", "https", "/echo")
        with served.connect() as connection:
            assert Raw(connection).handshake("/socket", **PROXIED)[0] == 101
        assert plugin.seen.get(timeout=WAIT)[:3] == ("203.0.113.7", "wss", "/socket")


@pytest.mark.parametrize(("path", "status"), [("/", 101), ("/refused", 403), ("/denied", 401)])
def test_wrapper_sees_how_a_handshake_ended(path: str, status: int) -> None:
    plugin = Watching(waits=True)
    with running(wrapping(plugin), *HERE) as service, Served(service).connect() as connection:
        assert Raw(connection).handshake(path)[0] == status
        connection.close()
        assert plugin.seen.get(timeout=WAIT)[3:5] == (status, "None")


@pytest.mark.parametrize("waits", [False, True], ids=["looks", "waits"])
def test_wrapped_request_that_fails_late_is_logged(
    waits: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Its wrapper learns of it, too, where that waits."""
    plugin = Watching(waits)
    with running(wrapping(plugin), *HERE) as service:
        served = Served(service)
        assert served.get("/broken-after") == (200, b"well")
        served.go_on()
        seen = plugin.seen.get(timeout=WAIT)
    assert not waits or seen[3:5] == (200, "RuntimeError('broken on purpose')")
    assert "RuntimeError: broken on purpose" in caplog.text


def test_values_of_one_header_are_joined() -> None:
    """A wrapper must not see only one of them: another reader could see the other."""
    plugin = Watching(waits=False)
    with running(wrapping(plugin), *HERE) as service, Served(service).connect() as connection:
        head = b"GET / HTTP/1.1\r\nHost: x\r\nAuthorization: one\r\nauthorization: two\r\n\r\n"
        connection.sendall(head)
        assert plugin.seen.get(timeout=WAIT)[-1] == "one, two"
