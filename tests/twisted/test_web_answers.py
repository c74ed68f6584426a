"""TwistedWebTask: resources that fail after the start of their answer, or finish it twice."""

from __future__ import annotations

import socket
import warnings
from typing import Any

import pytest
from sparts.tasks.twisted import TwistedWebTask
from sparts.testing.running import running_task
from sparts.testing.waiting import WAIT
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from tests.http_contract import get, rest


class Odd(Resource):
    """Answers as its path says."""

    isLeaf = True  # noqa: N815 - Twisted's name

    def render_GET(self, request: Any) -> Any:  # noqa: N802 - Twisted's name
        return getattr(self, request.path[1:].decode())(request)

    def late(self, request: Any) -> Any:
        """Fail in the middle of an answer."""
        request.write(b"some")
        raise ValueError("broken on purpose")

    def twice(self, request: Any) -> Any:
        """Finish once more."""
        request.finish()
        request.finish()
        return NOT_DONE_YET

    def more(self, request: Any) -> Any:
        """Answer once more."""
        request.write(b"done")
        request.finish()
        return b"more"

    def well(self, request: Any) -> Any:
        """Answer."""
        return b"well"


class Web(TwistedWebTask):
    """Serves that."""

    DEFAULT_HOST = "127.0.0.1"

    def make_resource(self) -> Any:
        return Odd()  # type: ignore[no-untyped-call]


def ask(path: str) -> bytes:
    """Ask for a path and for ``/well`` over one connection, and return all that comes."""
    with running_task(Web) as task, socket.create_connection(task.bound_addrs[0], WAIT) as client:
        client.sendall(get(path) + get("/well", "Connection: close"))
        return rest(client)


def test_failure_in_mid_answer_ends_the_connection(caplog: pytest.LogCaptureFixture) -> None:
    """The client sees that the answer is not whole: nothing stands for the rest of it."""
    answer = ask("/late")
    assert answer.endswith(b"4\r\nsome\r\n")
    assert "broken on purpose" in caplog.text


@pytest.mark.parametrize("path", ["/twice", "/more"])
def test_finished_answer_stays_whole(path: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Twisted's, of the second finish
        answer = ask(path)
    assert answer.count(b"HTTP/1.1 200 OK\r\n") == 2
    assert answer.endswith(b"well")


def test_target_may_be_a_whole_url() -> None:
    """As of a client that takes the server for a proxy (RFC 9112, section 3.2.2)."""
    assert ask("http://there:80/well").count(b"HTTP/1.1 200 OK\r\n") == 2
