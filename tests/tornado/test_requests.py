"""What becomes of each request: its id, counters, times, and the line in the access log."""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sparts.errors import OptionError
from sparts.testing.running import make_service, running, service_of
from tornado.web import RequestHandler

from tests.core.log_helpers import bare_root
from tests.http_contract import get, rest
from tests.tornado.http_services import Http, Service, ask, ask_once, connected, read_answer


def test_request_gets_an_id_in_its_response() -> None:
    with running(Service) as service, connected(service) as client:
        answers = [ask(client, "/echo/x") for _ in range(3)]
    ids = [headers["x-request-id"] for _, headers, _ in answers]
    assert ids == [json.loads(body)["id"] for _, _, body in answers]
    assert len(set(ids)) == 3
    assert all(re.fullmatch(r"[0-9a-f]{12}-[0-9a-f]+", found) for found in ids)


@pytest.mark.parametrize(
    "given", ["a", "7f3a-1", "Root=1-67891233-abcdef012345678912345678", "x" * 128]
)
def test_a_valid_request_id_is_taken_over(given: str) -> None:
    with running(Service) as service:
        assert ask_once(service, X_Request_Id=given)[1]["x-request-id"] == given


@pytest.mark.parametrize(
    "given", ["", "x" * 129, "a b", "a\tb", 'a"b', "a\\b", "<a>", "a;b", "\xe9"]
)
def test_an_invalid_request_id_is_replaced(given: str) -> None:
    with running(Service) as service, connected(service) as client:
        client.sendall(
            b"GET / HTTP/1.1\r\nHost: x\r\nX-Request-Id: " + given.encode("latin1") + b"\r\n\r\n"
        )
        found = read_answer(client)[1]["x-request-id"]
    assert re.fullmatch(r"[0-9a-f]{12}-[0-9a-f]+", found)


def test_access_log_is_switched_on_while_service_runs(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with running(Service) as service:
        for level in ("WARNING", "INFO"):
            service.setOption("http_access_log", level)
            ask_once(service, "/status/200")
    (line,) = [each for each in caplog.records if each.name == "Service.Http.access"]
    pattern = r"200 GET /status/200 \(127\.0\.0\.1\) [\d.]+ ms"
    assert (line.levelname, re.fullmatch(pattern, line.getMessage()) is not None) == ("INFO", True)


def test_access_log_has_no_query_or_body(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with running(Service, "--http-access-log", "INFO") as service:
        for path in ("/status/500?token=s3cret", "/echo/?token=s3cret", "/nowhere?token=s3cret"):
            ask_once(service, path, Authorization="Bearer s3cret", Cookie="s3cret")
        ask_once(service, "/echo/", method="POST", body=b"s3cret")
    assert len([r for r in caplog.records if r.name == "Service.Http.access"]) == 4
    assert "s3cret" not in caplog.text
    assert "s3cret" not in repr([vars(record) for record in caplog.records])


def test_log_lines_of_request_say_which_it_is(tmp_path: Path) -> None:
    log = tmp_path / "log"
    argv = ("--logfile", str(log), "--log-format", "json", "--http-access-log", "INFO")
    with bare_root(), running(Service, *argv) as service:
        ask_once(service, "/logs", X_Request_Id="first")
        ask_once(service, "/status/200", X_Request_Id="second")
        service.logger.info("Nobody's")
    found = [json.loads(line) for line in log.read_text().splitlines()]
    ids = {line["message"]: line.get("request_id") for line in found}
    assert (ids["Answering"], ids["Nobody's"]) == ("first", None)
    (access,) = [line for line in found if line.get("path") == "/status/200"]
    expected = {"request_id": "second", "status": 200, "method": "GET", "remote_ip": "127.0.0.1"}
    assert access.items() >= expected.items()
    assert access["duration_ms"] > 0


def test_bug_in_a_handler_is_500(caplog: pytest.LogCaptureFixture) -> None:
    with running(Service) as service:
        status, headers, _ = ask_once(service, "/fails", X_Request_Id="broken")
        assert (status, headers["x-request-id"]) == (500, "broken")
        assert service.getCounter('Http.responses{status="5xx"}') == 1
    assert "ValueError: a bug" in caplog.text


class OwnError(BaseException):
    """What no ``except Exception`` catches."""


class Raises(RequestHandler):
    """Raises as its query says."""

    def get(self) -> None:
        raise {"own": OwnError(), "generator": GeneratorExit()}[self.get_argument("what")]

    async def post(self) -> None:
        await asyncio.sleep(0)
        raise SystemExit(3)

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        if self.get_argument("error", ""):
            raise OwnError
        super().write_error(status_code, **kwargs)


class RaisingHttp(Http):
    def getApplicationConfig(self) -> list[Any]:  # noqa: N802
        return [("/raises", Raises), *super().getApplicationConfig()]


@pytest.fixture
def raising() -> Iterator[Any]:
    """A service whose handler raises, as it runs."""
    service = make_service(service_of(RaisingHttp))
    thread = service.startBG()
    yield thread
    service.shutdown()
    thread.join()


def test_exceptions_of_any_kind_are_answered(
    raising: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with connected(raising.service) as client:
        assert ask(client, "/raises?what=own")[0] == 500
        assert ask(client, "/raises?what=generator")[0] == 500
        assert ask(client, "/echo/x")[0] == 200
    assert raising.service.getCounter('RaisingHttp.responses{status="5xx"}') == 2
    assert "OwnError" in caplog.text


def test_failing_error_page_closes_the_connection(raising: Any) -> None:
    with connected(raising.service) as client:
        client.sendall(b"GET /raises?what=own&error=1 HTTP/1.1\r\nHost: x\r\n\r\n")
        assert client.recv(1000) == b""


def test_exit_in_handler_is_answered_and_ends_service(raising: Any) -> None:
    with connected(raising.service) as client:
        assert ask(client, "/raises", "POST", b"x")[0] == 500
        raising.join()
    assert raising.status == 3


@pytest.mark.parametrize(("argv", "ip"), [((), "127.0.0.1"), (("--http-xheaders",), "192.0.2.7")])
def test_headers_of_proxies_are_believed_on_demand(argv: tuple[str, ...], ip: str) -> None:
    with running(Service, *argv) as service:
        _, _, body = ask_once(service, "/echo/", X_Forwarded_For="192.0.2.7")
    assert json.loads(body)["ip"] == ip


def test_xheaders_of_class_skip_trusted_proxies() -> None:
    class Behind(Http):
        XHEADERS = True
        TRUSTED_DOWNSTREAM = ("192.0.2.9",)

    with running(service_of(Behind)) as service:
        _, _, body = ask_once(service, "/echo/", X_Forwarded_For="192.0.2.7, 192.0.2.9")
    assert json.loads(body)["ip"] == "192.0.2.7"


def test_clients_have_limits_without_any_option() -> None:
    with running(Service) as service:
        options = service.getOptions()
    assert {name: options[f"http_{name}"] for name in (
        "max_body", "max_headers", "idle_timeout", "read_timeout", "write_timeout", "xheaders"
    )} == {
        "max_body": 10 * 1024 * 1024, "max_headers": 64 * 1024,
        "idle_timeout": 75.0, "read_timeout": 30.0, "write_timeout": 60.0, "xheaders": False,
    }  # fmt: skip


@pytest.mark.parametrize("path", ["/echo/", "/upload"])
def test_a_body_is_taken_up_to_the_limit(path: str) -> None:
    with running(Service, "--http-max-body", "1000") as service:
        assert ask_once(service, path, method="POST", body=b"x" * 1000)[2] == b"1000"
        assert ask_once(service, path, method="POST", body=b"x" * 1001)[0] == 413


def test_static_files_are_served_and_nothing_beside_them(tmp_path: Path) -> None:
    files = tmp_path / "files"
    files.mkdir()
    (files / "page.html").write_text("<p>hello</p>")
    (tmp_path / "secret").write_text("s3cret")
    (files / "link").symlink_to(tmp_path / "secret")

    class Files(Http):
        APPLICATION_SETTINGS = {"static_path": str(files), "compress_response": True}

    with running(service_of(Files)) as service:
        status, headers, body = ask_once(service, "/static/page.html")
        assert (status, body) == (200, b"<p>hello</p>")
        assert headers["content-type"] == "text/html"
        assert ask_once(service, "/static/page.html", If_None_Match=headers["etag"])[0] == 304
        for way in ("../secret", "..%2fsecret", "%2e%2e/secret", "/etc/passwd", "%2fetc%2fpasswd",
                    "....//secret", "..\\secret", "x/../../secret"):  # fmt: skip
            status, _, body = ask_once(service, f"/static/{way}")
            assert status in (400, 403, 404), way
            assert b"s3cret" not in body


def test_impossible_static_file_is_not_found(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Files(Http):
        APPLICATION_SETTINGS = {"static_path": str(tmp_path)}

    (tmp_path / "folder").mkdir()
    with running(service_of(Files)) as service:
        for name in ("%00", "a%00.html", "folder/%00", "%00/a", "..%00", "x" * 300, "x" * 5000,
                     "x/" * 5000, "folder%2f%00"):  # fmt: skip
            assert ask_once(service, f"/static/{name}")[0] == 404, name[:20]
    assert not [record for record in caplog.records if record.exc_info]


def test_log_function_of_settings_is_called_too() -> None:
    seen: list[int] = []

    class Own(Http):
        APPLICATION_SETTINGS = {"log_function": lambda handler: seen.append(handler.get_status())}

    with running(service_of(Own)) as service:
        ask_once(service, "/status/204")
        assert service.getCounter('Own.responses{status="2xx"}') == 1
    assert seen == [204]


@pytest.mark.parametrize(
    ("flag", "expected"),
    [
        ("--status-access-log", "a log level .*, or OFF"),
        ("--status-peers", "URLs .* with commas between them"),
        ("--processes", "a number from 1 to 256, or auto"),
    ],
)
def test_wrong_value_says_what_is_expected(flag: str, expected: str) -> None:
    with pytest.raises(OptionError, match=f"{flag}: expected {expected}, got '0x'"):
        make_service(service_of("StatusHTTPTask"), flag, "0x")


@pytest.mark.parametrize("connection", ["close", "TE, close", "keep-alive,CLOSE"])
def test_client_that_asks_for_the_end_gets_it(connection: str) -> None:
    with running(Service) as service, connected(service) as client:
        client.sendall(get("/status/200", f"Connection: {connection}") + get("/status/200"))
        assert rest(client).count(b"HTTP/1.1 200") == 1


@pytest.mark.parametrize("target", ["http://there:80/echo/x?q=1", "HTTP://there:80/echo/x?q=1"])
def test_target_may_be_a_whole_url(target: str) -> None:
    """As of a client that takes the server for a proxy (RFC 9112, section 3.2.2)."""
    with running(Service) as service, connected(service) as client:
        client.sendall(get(target, "Connection: close"))
        assert json.loads(rest(client).rpartition(b"\r\n\r\n")[2])["path"] == "x"
