"""Thrift servers against hostile pages in a real browser, and against what such a page can send."""

from __future__ import annotations

import http.client
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from sparts.options import option
from sparts.tasks.fb303 import FB303HandlerTask
from sparts.tasks.thrift import NBServerTask
from sparts.tasks.tornado_thrift import ThriftHTTPTask
from sparts.testing.running import running
from sparts.testing.waiting import WAIT, log_of
from sparts.thrift.client import AsyncThriftClient, ThriftClient
from sparts.thrift.fb303 import FacebookService
from sparts.vservice import VService
from thrift.protocol.TBinaryProtocol import TBinaryProtocol
from thrift.protocol.TJSONProtocol import TJSONProtocol
from thrift.Thrift import TApplicationException
from thrift.transport.TTransport import TMemoryBuffer

from tests.browsers import launched, malicious_site
from tests.thrift import clients

if TYPE_CHECKING:
    from playwright.sync_api import Browser

TOKEN = "a-token-of-the-test"


class Monitored(VService):
    """A service with fb303 over HTTP and over framed thrift, as its user would write it."""

    TASKS = [FB303HandlerTask, ThriftHTTPTask, NBServerTask]
    batch = option(type=int, default=10)


@contextmanager
def serving(*argv: str) -> Iterator[Any]:
    here = ("--thrift-host", "127.0.0.1", "--thrift-http-host", "127.0.0.1")
    with running(Monitored, *here, *argv) as service:
        yield service


def port_of(service: Any) -> int:
    return int(service.requireTask(ThriftHTTPTask).bound_addrs[0][1])


def client_of(service: Any, **options: Any) -> Any:
    return clients.client_of(service, FacebookService, ThriftHTTPTask, path="/", **options)


def message(method: str, *arguments: Any, protocol: Any = TBinaryProtocol) -> bytes:
    buffer: Any = TMemoryBuffer()
    client: Any = FacebookService.Client
    getattr(client(protocol(buffer)), f"send_{method}")(*arguments)
    return bytes(buffer.getvalue())


def post(service: Any, body: bytes, address: str = "127.0.0.1", **headers: str | None) -> int:
    """Post a message; return the status. Underscores in names of headers are hyphens."""
    connection = http.client.HTTPConnection(address, port_of(service), timeout=WAIT)
    sent: dict[str, str | None] = {"Content-Type": "application/x-thrift"}
    sent |= {name.replace("_", "-"): value for name, value in headers.items()}
    try:
        connection.request("POST", "/", body, {k: v for k, v in sent.items() if v is not None})
        return connection.getresponse().status
    finally:
        connection.close()


# -- in a browser ----------------------------------------------------------------------------------

TRIES = """async ([url, bytes, text]) => {
  const body = new Uint8Array(bytes), found = [];
  const types = [undefined, "text/plain", "text/plain;,application/x-thrift",
    "application/x-www-form-urlencoded", "application/x-www-form-urlencoded,application/x-thrift",
    "multipart/form-data;,application/vnd.apache.thrift.binary",
    "application/x-thrift", "application/vnd.apache.thrift.binary", "application/json"];
  for (const type of types) {
    for (const mode of ["no-cors", "cors"]) {
      const headers = type ? {"Content-Type": type} : {};
      for (const sent of [body, text, new Blob([body], {type: type || ""})]) {
        try { found.push((await fetch(url, {method: "POST", mode, headers, body: sent})).type); }
        catch { found.push("blocked"); }
      }
    }
    navigator.sendBeacon(url, new Blob([body], {type: type || ""}));
  }
  return found;
}"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One browser for all tests of this module."""
    with launched("--host-resolver-rules=MAP evil.example 127.0.0.1") as chromium:
        yield chromium


@pytest.mark.needs("chromium")
@pytest.mark.parametrize("server", [ThriftHTTPTask, NBServerTask])
def test_foreign_page_can_call_no_method(browser: Browser, server: Any) -> None:
    calls = [
        [message(*call, protocol=protocol) for protocol in (TBinaryProtocol, TJSONProtocol)]
        for call in (("setOption", "batch", "66"), ("shutdown",))
    ]
    with serving() as service, log_of(service) as log, malicious_site() as site:
        page = browser.new_context().new_page()
        page.goto(site)
        # A page reaches a loopback server by any of its names.
        for host in ("127.0.0.1", "localhost"):
            url = f"http://{host}:{service.requireTask(server).bound_addrs[0][1]}/"
            for binary, text in calls:
                tried = page.evaluate(TRIES, [url, list(binary), text.decode()])
                assert "opaque" in tried or server is NBServerTask
                assert set(tried) <= {"opaque", "blocked"}
        page.context.close()
        assert service.status == "ALIVE"
        assert service.batch == 10
        assert [line for line in log.items if "was refused to" in line] == []  # no method ran
        with client_of(service) as client:
            assert client.getName() == "Monitored"


@pytest.mark.needs("chromium")
def test_rebound_name_can_call_no_method(browser: Browser) -> None:
    with serving("--fb303-token", TOKEN) as service:
        page = browser.new_context().new_page()
        page.goto(f"http://evil.example:{port_of(service)}/")  # same origin, as the browser sees it
        status = page.evaluate(
            """async (bytes) => (await fetch("/", {method: "POST", body: new Uint8Array(bytes),
                headers: {"Content-Type": "application/x-thrift"}})).status""",
            list(message("setOption", "batch", "66")),
        )
        assert status == 403
        assert service.batch == 10


# -- by hand ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        (200, {}),
        (200, {"Content_Type": "application/x-thrift, application/vnd.apache.thrift.binary"}),
        (200, {"Host": "localhost:1"}),
        (200, {"Host": socket.gethostname()}),
        (415, {"Content_Type": None}),
        (415, {"Content_Type": ""}),
        (415, {"Content_Type": "text/plain;,application/x-thrift"}),
        (415, {"Content_Type": "application/x-thrift,text/plain"}),
        (403, {"Origin": "http://evil.example"}),
        (403, {"Origin": "null"}),
        (403, {"Sec_Fetch_Site": "cross-site"}),
        (403, {"Sec_Fetch_Site": "same-site"}),
        (403, {"Host": "evil.example"}),
        (403, {"Host": "evil.example", "Origin": "http://evil.example"}),
    ],
)
def test_request_a_browser_could_send_is_refused(status: int, headers: dict[str, Any]) -> None:
    with serving() as service:
        assert post(service, message("getName"), **headers) == status


@pytest.mark.parametrize("host", ["::", "::1"])
def test_rebound_name_is_refused_on_dual_stack_sockets(host: str) -> None:
    if not socket.has_dualstack_ipv6():
        pytest.skip("this machine has no IPv6")
    with serving("--thrift-http-host", host) as service:
        port = port_of(service)
        for address in ("127.0.0.1", "::1") if host == "::" else ("::1",):
            assert post(service, message("getName"), address=address, Host="evil.example") == 403
            assert (
                post(service, message("getName"), address=address, Host=f"x.localhost:{port}")
                == 200
            )


def test_browser_must_know_name_of_server_on_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sparts.tasks.tornado.access.is_loopback", lambda address: False)
    own = {"Host": "api.example", "Origin": "http://api.example"}
    with serving() as service:
        assert post(service, message("getName"), Host="api.example") == 200
        assert post(service, message("getName"), **own) == 403  # a name may point anywhere
    with serving("--thrift-http-allowed-host", "api.example") as service:
        assert post(service, message("getName"), **own) == 200


def test_further_host_name_is_allowed_by_option() -> None:
    with serving("--thrift-http-allowed-host", "api.example") as service:
        assert post(service, message("getName"), Host="api.example") == 200
        assert post(service, message("getName"), Host="evil.example") == 403


# -- control over HTTP -----------------------------------------------------------------------------


def refused(client: Any) -> None:
    with pytest.raises(TApplicationException, match="--fb303-token, sent as a bearer token or"):
        client.setOption("batch", "66")
    client.reinitialize()  # these two have no answer
    client.shutdown()


@pytest.mark.parametrize("argv", [(), ("--fb303-control",), ("--fb303-token", TOKEN)])
def test_control_over_http_needs_the_token(argv: tuple[str, ...]) -> None:
    wrong = {"Authorization": "Bearer wrong"}
    with serving(*argv) as service:
        with client_of(service) as client, log_of(service) as log:
            refused(client)
            log.wait_for_line("shutdown was refused to 127.0.0.1")
        with client_of(service, headers=wrong) as client:
            refused(client)
        with client_of(service, headers={"Authorization": "Bearer "}) as client:
            refused(client)
        assert service.status == "ALIVE"


def test_control_over_http_is_given_to_the_token() -> None:
    with serving("--fb303-token", TOKEN) as service:
        with client_of(service, headers={"Authorization": f"Bearer {TOKEN}"}) as client:
            client.setOption("batch", "12")
            assert service.batch == 12
            assert client.getOptions()["fb303_token"] != TOKEN
            client.shutdown()
        assert service.join(WAIT)


def test_unix_socket_control_needs_no_token(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    with running(Monitored, "--thrift-host", "127.0.0.1", "--thrift-http-sock", path) as service:
        with ThriftClient.for_unix(path, FacebookService, http_path="/") as client:
            client.setOption("batch", "3")
        assert service.batch == 3


@pytest.mark.parametrize("made", [ThriftClient, AsyncThriftClient])
def test_headers_that_cannot_be_sent_are_an_error(made: Any) -> None:
    from sparts.errors import UsageError

    with pytest.raises(UsageError, match="over HTTP only"):
        made("localhost", 1, FacebookService, headers={"X": "y"})
    for name, value in (("X: y", "z"), ("X", "a\r\nY: b"), ("", "x"), ("X", "\u20ac")):
        with pytest.raises(UsageError, match="HTTP cannot send the header"):
            ThriftClient("localhost", 1, FacebookService, path="/", headers={name: value})
