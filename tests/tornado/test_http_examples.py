"""The HTTP examples do what they say, as processes."""

from __future__ import annotations

import hashlib
import http.client
import json
import signal
import socket
import sys
from pathlib import Path

from sparts.testing.certificates import FIRST_CERTIFICATE, SECOND_CERTIFICATE

from tests.certificates import over_tls
from tests.processes import ServiceProcess
from tests.tornado.http_services import WAIT, ask, read_answer

EXAMPLES = Path(__file__).parents[2] / "examples"


def example(name: str, folder: Path, *argv: str) -> ServiceProcess:
    return ServiceProcess([sys.executable, str(EXAMPLES / f"{name}.py"), *argv], cwd=folder)


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), WAIT)


def test_chat_reaches_all_until_the_service_goes(tmp_path: Path) -> None:
    with example("http_websocket", tmp_path, "--http-port", "0") as process:
        port = process.listening_port("Web")
        with connect(port) as one, connect(port) as other:
            for client in (one, other):
                status, _, _ = ask(
                    client, "/chat", Upgrade="websocket", Connection="Upgrade",
                    Sec_WebSocket_Key="AAAAAAAAAAAAAAAAAAAAAA==", Sec_WebSocket_Version="13",
                )  # fmt: skip
                assert status == 101
            one.sendall(b"\x81\x82\0\0\0\0hi")
            assert [client.recv(4) for client in (one, other)] == [b"\x81\x02hi"] * 2
            process.process.send_signal(signal.SIGTERM)
            for client in (one, other):
                assert client.recv(4) == b"\x88\x02\x03\xe9"
                client.sendall(b"\x88\x82\0\0\0\0\x03\xe9")
        assert process.finish() == 0


def test_streams_go_on_until_the_service_goes(tmp_path: Path) -> None:
    with example("http_stream", tmp_path, "--http-port", "0") as process:
        port = process.listening_port("Web")
        long = bytes(20_000_000)
        with connect(port) as client:
            answer = ask(client, "/digest", "PUT", long)
            assert answer[2].decode() == hashlib.sha256(long).hexdigest()
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=WAIT)
        connection.request("GET", "/ticks")
        response = connection.getresponse()
        assert response.getheader("Content-Type") == "text/event-stream"
        assert response.read(9) == b"data: 1\n\n"
        process.process.send_signal(signal.SIGTERM)
        rest = response.read()  # which would raise if it were cut off
        assert not rest or rest.endswith(b"\n\n")
        connection.close()
        assert process.finish() == 0
        assert "cut off" not in process.output


def test_https_shows_its_certificate_and_takes_in_another(tmp_path: Path, pem: str) -> None:
    argv = ("--https-port", "0", "--https-tls-cert", pem)
    with example("https", tmp_path, *argv) as process:
        port = process.listening_port("Https")
        process.read_until_started()
        for certificate in (FIRST_CERTIFICATE, SECOND_CERTIFICATE):
            if certificate is SECOND_CERTIFICATE:
                Path(pem).write_text(certificate, encoding="ascii")
                process.process.send_signal(signal.SIGHUP)
                process.read_until("Reloaded")
            with over_tls(connect(port), certificate) as client:
                found = json.loads(ask(client)[2])
                assert found == {"protocol": "https", "client": None}
        assert process.stop() == 0


def test_client_asks_from_thread_and_handler(tmp_path: Path) -> None:
    with example("http_by_name", tmp_path, "--http-port", "0") as other:
        url = f"http://127.0.0.1:{other.listening_port()}/"
        argv = ("--http-port", "0", "--probe-url", url)
        with example("http_client", tmp_path, *argv) as process:
            port = process.listening_port("Web")
            process.read_until(f"Probe:{url}: 200")
            with connect(port) as client:
                client.sendall(b"GET /proxy HTTP/1.1\r\nHost: x\r\n\r\n")
                assert read_answer(client)[2] == b"Hello, world"
            assert process.stop() == 0
        assert other.stop() == 0
