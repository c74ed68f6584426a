"""ThriftClient over HTTP: what it sends, what it keeps, and what its errors say."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sparts.thrift.client import ThriftClient
from thrift.protocol.TBinaryProtocol import TBinaryProtocolAccelerated
from thrift.transport.TTransport import TMemoryBuffer, TTransportException

from tests.thrift.interop.handler import Handler
from tests.thrift.scripted import Peer, hold

pytestmark = pytest.mark.needs("thrift-compiler")


class Server(http.server.ThreadingHTTPServer):
    """Serves the interface by HTTP/1.1, and notes what comes."""

    daemon_threads = False
    block_on_close = True

    def __init__(self, types: Any) -> None:
        super().__init__(("127.0.0.1", 0), Posts)
        self.processor = types.Interop.Processor(Handler(types, types.included))
        self.requests: list[tuple[tuple[str, int], str, dict[str, str]]] = []


class Posts(http.server.BaseHTTPRequestHandler):
    """Answers a POST with what the path asks for."""

    protocol_version = "HTTP/1.1"
    server: Server

    def do_POST(self) -> None:
        """Answer it."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.requests.append((self.client_address, self.path, dict(self.headers)))
        if self.path == "/missing":
            self.send_error(404)
            return
        out: Any = TMemoryBuffer()
        self.server.processor.process(
            TBinaryProtocolAccelerated(TMemoryBuffer(body)), TBinaryProtocolAccelerated(out)
        )
        self.send_response(200)
        self.send_header("Content-Length", str(len(out.getvalue())))
        if self.path == "/once":
            self.send_header("Connection", "close")
            self.close_connection = True
        self.end_headers()
        self.wfile.write(out.getvalue())

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@contextmanager
def serving(types: Any, path: str, **options: Any) -> Iterator[tuple[Server, Any]]:
    """Run a server; give it, and a client of a path."""
    with Server(types) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            port = server.server_address[1]
            with ThriftClient.for_hostport(
                "127.0.0.1", port, types, service="Interop", path=path, **options
            ) as client:
                yield server, client
        finally:
            server.shutdown()
            thread.join()


def test_calls_are_posted_over_one_connection(types: Any) -> None:
    with serving(types, "/thrift?x=1") as (server, client):
        assert client.join("a", "b") == "a|b"
        with pytest.raises(types.included.Declared):
            client.fail("declared")
        client.note("one way")
        assert client.noted() == "one way"
        assert len({address for address, _, _ in server.requests}) == 1
        _, path, headers = server.requests[0]
        assert path == "/thrift?x=1"
        assert headers["Content-Type"] == "application/vnd.apache.thrift.binary"
        assert headers["Host"] == f"127.0.0.1:{server.server_address[1]}"


def test_connection_that_server_ends_is_not_used_again(types: Any) -> None:
    with serving(types, "/once") as (server, client):
        assert [client.served() for _ in range(3)] == [1, 2, 3]
        assert len({address for address, _, _ in server.requests}) == 3


def test_a_status_that_is_an_error_is_told(types: Any) -> None:
    with serving(types, "/missing") as (server, client):
        where = f"http://127.0.0.1:{server.server_address[1]}/missing answers 404 Not Found"
        with pytest.raises(TTransportException, match=where):
            client.nothing()


def test_an_answer_that_is_too_long_is_told(types: Any) -> None:
    with serving(types, "/", max_frame=1000) as (_, client):
        with pytest.raises(TTransportException, match=r"has 2\d\d\d bytes, and 1000 are the limit"):
            client.echoBinary(bytes(2000))
        client.nothing()


def speak_no_http(connection: Any) -> None:
    connection.recv(10)
    connection.sendall(b"\x00\x00\x00\x04oops\r\n")
    hold(connection)


@pytest.mark.parametrize(
    ("script", "why"),
    [
        (speak_no_http, "does not speak HTTP as it should"),
        (lambda connection: None, "closed the connection before it answered"),
    ],
    ids=["no HTTP", "hangs up"],
)
def test_a_peer_without_an_answer_is_told(script: Any, why: str, types: Any) -> None:
    with (
        Peer(types, script) as peer,
        ThriftClient.for_localhost(peer.port, types, service="Interop", path="/") as client,
        pytest.raises(TTransportException, match=why),
    ):
        client.nothing()
