"""TornadoHTTPTask: handlers whose answer cannot be sent, or that fail in the middle of it."""

from __future__ import annotations

from typing import Any

import pytest
from sparts.testing.running import running, service_of
from sparts.testing.waiting import log_of
from tornado.web import HTTPError, RequestHandler

from tests.http_contract import get, rest
from tests.tornado.http_services import Http, connected, settle
from tests.wrapping import wrapped_by

HEADERS = {
    "name": ("X-Name: a\r\nX-Evil", "1"),
    "length": ("Content-Length", "five"),
    "negative": ("Content-Length", "-1"),
}


class Unsendable(RequestHandler):
    """Sets a header that cannot be sent."""

    def get(self) -> None:
        self.set_header(*HEADERS[self.get_argument("what")])
        self.write("hello")

    head = get


class Late(RequestHandler):
    """Fails when a part of its answer has been sent."""

    async def get(self) -> None:
        self.write("some")
        await self.flush()
        raise {"bug": ValueError("broken on purpose"), "error": HTTPError(400)}[
            self.get_argument("what")
        ]


class Endless(RequestHandler):
    """Sends until its client goes."""

    async def get(self) -> None:
        while True:
            self.write(bytes(65536))
            await self.flush()


class FailingHttp(Http):
    """Serves these too."""

    def getApplicationConfig(self) -> list[Any]:  # noqa: N802
        own = [("/unsendable", Unsendable), ("/late", Late), ("/endless-bytes", Endless)]
        return [*own, *super().getApplicationConfig()]


async def look(_: Any, proceed: Any) -> None:
    """Wrap a call."""
    await proceed()


@pytest.fixture(params=["plain", "wrapped"])
def service(request: Any) -> Any:
    """A service of such handlers, with a plugin that wraps calls and without one."""
    kind = service_of(FailingHttp)
    with running(wrapped_by(look, FailingHttp) if request.param == "wrapped" else kind) as found:
        yield found


def ask(service: Any, request: bytes) -> bytes:
    """Ask for this and then for ``/status/204`` over one connection; return all that comes."""
    with connected(service) as client:
        client.sendall(request + get("/status/204", "Connection: close"))
        answer = rest(client)
    settle(service)
    return answer


@pytest.mark.parametrize(
    ("method", "what"),
    [(b"GET", "name"), (b"GET", "length"), (b"GET", "negative"), (b"HEAD", "name")],
)
def test_answer_that_cannot_be_sent_is_500(service: Any, method: bytes, what: str) -> None:
    first, _, next_one = ask(
        service, get(f"/unsendable?what={what}").replace(b"GET", method)
    ).rpartition(b"HTTP/1.1 ")
    assert first.startswith(b"HTTP/1.1 500 Internal Server Error\r\n")
    assert b"Evil" not in first
    assert next_one.startswith(b"204 ")
    assert service.getCounter('FailingHttp.responses{status="5xx"}') == 1


@pytest.mark.parametrize(("what", "counted"), [("bug", "5xx"), ("error", "4xx")])
def test_failure_in_mid_answer_ends_the_connection(
    service: Any, what: str, counted: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The client sees that the answer is not whole: nothing stands for the rest of it."""
    answer = ask(service, get(f"/late?what={what}"))
    assert answer.endswith(b"4\r\nsome\r\n")
    assert service.getCounter(f'FailingHttp.responses{{status="{counted}"}}') == 1
    assert service.getCounter("FailingHttp.in_flight") == 0
    assert ("broken on purpose" in caplog.text) == (what == "bug")


def test_client_that_leaves_an_answer_is_no_error(
    service: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with connected(service) as client, log_of(service) as log:
        client.sendall(get("/endless-bytes"))
        assert client.recv(12) == b"HTTP/1.1 200"
        client.close()
        log.wait_for_line(r"WARNING:Service.FailingHttp.access:lost GET /endless-bytes")
    settle(service)
    assert service.getCounter('FailingHttp.responses{status="lost"}') == 1
    assert service.getCounter('FailingHttp.responses{status="2xx"}') == 0
    assert service.getCounter('FailingHttp.responses{status="5xx"}') == 0
    assert service.getCounter("FailingHttp.in_flight") == 0
    assert "Traceback" not in caplog.text
