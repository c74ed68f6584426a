"""The controls: what they do, and for whom they do not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sparts.options import option
from sparts.states import ServiceStatus
from sparts.testing.running import running, service_of
from sparts.testing.waiting import WAIT
from sparts.vtask import VTask

from tests.tornado import page_services
from tests.tornado.status_clients import CONTROL, TOKEN, Client, client_of, serving


class Report(page_services.Report):
    OPT_PREFIX = "report"
    most = option(type=int, default=3)
    fixed = option(type=int, default=3, reloadable=False)
    password = option(type=str, secret=True)


class Idle(VTask):
    LOOPLESS = True


@pytest.fixture
def service() -> Iterator[Any]:
    with serving(Report, Idle, argv=CONTROL) as service:
        yield service


@pytest.fixture
def client(service: Any) -> Client:
    return client_of(service)


def test_option_is_set(service: Any, client: Client, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    answer = client.act("option", {"name": "report_most", "value": "5"})
    assert (answer.status, answer.json()["ok"]) == (200, True)
    assert service.requireTask(Report).most == 5
    assert client.act("option", {"name": "report-most", "value": 6}).status == 200
    assert service.requireTask(Report).most == 6
    assert client.act("option", {"name": "report_most", "value": None}).status == 200
    assert service.requireTask(Report).most is None
    assert "option report_most, asked for over HTTP by 127.0.0.1" in caplog.text


def test_option_that_needs_a_restart_says_so(client: Client) -> None:
    answer = client.act("option", {"name": "status-port", "value": "0"})
    said = "status-port is set, and takes effect when the service restarts."
    assert (answer.status, answer.json()["message"]) == (200, said)


def test_wrong_fixed_or_unknown_option_is_an_error(client: Client) -> None:
    for name, value, message in (
        ("report_most", "many", "setting --report-most: expected a whole number, got 'many'"),
        ("report_fixed", "4", "--report-fixed cannot change while the service runs: restart it."),
        ("report_mots", "4", "No option is named 'report_mots'. Did you mean 'report_most'?"),
    ):
        answer = client.act("option", {"name": name, "value": value})
        assert (answer.status, answer.json()) == (400, {"ok": False, "message": message})


def test_secret_that_is_set_is_not_told(
    service: Any, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    assert client.act("option", {"name": "report_password", "value": "hunter2"}).status == 200
    assert service.requireTask(Report).password == "hunter2"
    assert "hunter2" not in caplog.text
    assert "hunter2" not in client.ask("/status.json").text


def test_periodic_task_runs_now(service: Any, client: Client) -> None:
    assert client.act("run", {"task": "Report"}).json()["message"] == "Report runs now."
    assert service.requireTask(Report).ran.wait(WAIT)
    answer = client.act("run", {"task": "Idle"})
    said = "Idle does not run when it is asked to."
    assert (answer.status, answer.json()["message"]) == (400, said)
    assert client.act("run", {"task": "Nope"}).status == 404


def test_restart_makes_a_new_instance(service: Any, client: Client) -> None:
    assert client.act("restart").status == 200
    service.join(WAIT)
    assert service.health.status is ServiceStatus.STOPPED
    assert client.ask("/livez").status == 200  # the new one, on the same socket


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        ("{", 400, "That is not JSON"),
        ("[" * 60_000, 400, "That is not JSON"),
        ("[]", 400, "Send a JSON object"),
        ("{}", 400, "The object needs a string 'name'"),
        ('{"name": 3, "value": 4}', 400, "The object needs a string 'name'"),
        ('{"name": "report_most"}', 400, "The object needs a 'value'"),
        ("\udcff".encode("utf-8", "surrogateescape").decode("latin-1"), 400, "That is not JSON"),
        ('{"name": "' + "x" * 70000 + '"}', 413, "at most 65536 bytes"),
    ],
)
def test_body_that_is_wrong_is_a_clear_error(
    client: Client, body: str, status: int, message: str
) -> None:
    answer = client.act("option", body)
    assert answer.status == status
    assert message in answer.json()["message"]


# -- for whom --------------------------------------------------------------------------------------


def test_controls_do_not_exist_without_the_option() -> None:
    with serving(Report, argv=("--status-token", TOKEN)) as service:
        client = client_of(service)
        answer = client.act("run", {"task": "Report"})
        assert (answer.status, answer.text) == (404, "Controls exist only with --status-control.\n")
        assert not service.requireTask(Report).ran.is_set()


REFUSED: dict[str, tuple[int, dict[str, str | None]]] = {
    "no token": (401, {"Authorization": None}),
    "an empty token": (401, {"Authorization": "Bearer "}),
    "a wrong token": (401, {"Authorization": "Bearer wrong"}),
    "another scheme": (401, {"Authorization": f"Basic {TOKEN}"}),
    "a form, as any page may send one": (
        415,
        {"Content-Type": "application/x-www-form-urlencoded"},
    ),
    "no header of our own": (403, {"X-Sparts-Control": None}),
    "another origin": (403, {"Origin": "http://evil.example"}),
    "another port": (403, {"Origin": "http://127.0.0.1:1"}),
    "an origin that hides": (403, {"Origin": "null"}),
    "a page elsewhere": (403, {"Sec-Fetch-Site": "cross-site"}),
    "a page beside": (403, {"Sec-Fetch-Site": "same-site"}),
    "a name that points here": (403, {"Host": "evil.example", "Origin": "http://evil.example"}),
}


@pytest.mark.parametrize("what", REFUSED)
def test_control_is_refused_to(what: str, service: Any, client: Client) -> None:
    status, headers = REFUSED[what]
    answer = client.act("run", {"task": "Report"}, **headers)
    assert answer.status == status
    assert not service.requireTask(Report).ran.is_set()


def test_same_origin_is_no_other(service: Any, client: Client) -> None:
    port = service.requireTask("StatusHTTPTask").bound_addrs[0][1]
    for host in (f"127.0.0.1:{port}", f"localhost:{port}"):
        headers = {"Host": host, "Origin": f"http://{host}", "Sec-Fetch-Site": "same-origin"}
        assert client.act("verify", **headers).status == 200


def test_refusal_is_logged_and_tells_nothing_of_token(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    answer = client.act("shutdown", Authorization="Bearer guessed")
    assert answer.headers["Www-Authenticate"] == 'Bearer realm="sparts"'
    assert "Refused /control/shutdown from 127.0.0.1: That is not the token." in caplog.text
    assert TOKEN not in caplog.text + answer.text


def test_other_methods_are_refused_before_anything_else(service: Any, client: Client) -> None:
    for method in ("GET", "HEAD", "PUT", "OPTIONS"):
        answer = client.ask("/control/run", method)
        assert (answer.status, answer.headers["Allow"]) == (405, "POST")
        assert "Access-Control-Allow-Origin" not in answer.headers


def test_unix_socket_still_refuses_other_origins(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    argv = ("--status-control", "--status-sock", str(tmp_path / "s"))
    with running(service_of("StatusHTTPTask", Report), *argv) as service:
        client = client_of(service)
        foreign = client.act("run", {"task": "Report"}, Origin="http://evil.example")
        assert foreign.status == 403
        bare = client.act("run", {"task": "Report"}, Authorization=None)
        assert bare.status == 200
        assert service.requireTask(Report).ran.wait(WAIT)
    assert "Refused /control/run from a Unix socket: " in caplog.text
    assert "run Report, asked for over HTTP by a Unix socket" in caplog.text
    assert "0.0.0.0" not in caplog.text


def test_token_may_change_and_empty_is_wrong(service: Any, client: Client) -> None:
    answer = client.act("option", {"name": "status_token", "value": "grüße"})
    assert answer.status == 200
    assert client.act("verify").status == 401
    sent = "Bearer " + "grüße".encode().decode("latin-1")
    assert client.act("verify", Authorization=sent).status == 200
    none = {"name": "status_token", "value": None}
    assert client.act("option", none, Authorization=sent).status == 200
    for given in ("Bearer ", "Bearer None", sent):
        assert client.act("verify", Authorization=given).status == 401


def test_name_from_outside_adds_no_line(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    evil = "report_most\nERROR:Service:all is lost\x9b31m\u202e"
    assert client.act("option", {"name": evil, "value": 1}).status == 400
    assert client.act("run", {"task": evil}).status == 404
    told = [record.getMessage() for record in caplog.records]
    assert [text for text in told if not text.isprintable()] == []
    assert any("all is lost" in text for text in told)
