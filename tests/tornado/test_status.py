"""StatusHTTPTask: where it listens, and what its plain endpoints answer."""

from __future__ import annotations

import json
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from sparts.errors import OptionError, StartError
from sparts.hookspecs import hookimpl
from sparts.tasks.tornado.status import StatusHTTPTask
from sparts.testing.running import make_service, running, service_of
from sparts.testing.waiting import WAIT
from sparts.vservice import VService
from sparts.vtask import VTask

from tests.processes import run_to_end
from tests.tornado.page_services import Database
from tests.tornado.status_clients import CONTROL, Client, client_of, serving

SCRIPT = "from sparts.vservice import VService as S; S.TASKS = ['StatusHTTPTask']; S.initFromCLI()"
ENDPOINTS = ["/", "/livez", "/readyz", "/metrics", "/status.json", "/stacks", "/static/app.js"]


class VitalDatabase(Database):
    VITAL = True


# -- where it listens ------------------------------------------------------------------------------


def test_status_listens_on_its_own_loopback_port() -> None:
    cls = service_of(
        "StatusHTTPTask",
        "TornadoHTTPTask",
        DEFAULT_PORT=8000,
        DEFAULT_HOST="0.0.0.0",
        DEFAULT_SOCK="/run/app.sock",
    )
    ns = make_service(cls).options
    assert (ns.http_host, ns.http_port, ns.http_sock) == ("0.0.0.0", 8000, "/run/app.sock")
    assert (ns.status_host, ns.status_port, ns.status_sock) == ("127.0.0.1", 8081, None)


def test_start_without_a_thread_for_samples(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    begin = threading.Thread.start

    def start(self: threading.Thread) -> None:
        if self.name.endswith("sampler"):
            raise RuntimeError("can't start new thread")
        begin(self)

    monkeypatch.setattr(threading.Thread, "start", start)
    with pytest.raises(StartError, match="can't start new thread"):
        make_service(service_of("StatusHTTPTask"), "--status-port", "0").startBG()
    assert "failed while stopping" not in caplog.text


# -- what every endpoint does ----------------------------------------------------------------------


def test_every_endpoint_answers_get_and_head_alone() -> None:
    with serving() as service:
        client = client_of(service)
        for path in ENDPOINTS:
            answer = client.ask(path)
            assert answer.status == 200, path
            assert answer.headers["Cache-Control"] == "no-store"
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            assert "Server" not in answer.headers
            head = client.ask(path, "HEAD")
            assert (head.status, head.text) == (200, ""), path
            assert head.headers["Content-Type"] == answer.headers["Content-Type"]
            refused = client.ask(path, "POST", "x")
            assert (refused.status, refused.headers["Allow"]) == (405, "GET, HEAD"), path
            assert refused.text == f"{path} takes GET, HEAD, not POST.\n"


def test_unknown_path_is_404_with_the_known() -> None:
    with serving() as service:
        for path in ("/nope", "/static/../task.py", "/static/%2e%2e/task.py", "/static/"):
            answer = client_of(service).ask(path)
            assert answer.status == 404, path
            assert "but /, /livez, /readyz, /metrics, /status.json, /stacks." in answer.text


def test_page_loads_nothing_foreign_or_inline() -> None:
    with serving() as service:
        page = client_of(service).ask("/")
    policy = dict(
        part.split(" ", 1) for part in page.headers["Content-Security-Policy"].split("; ")
    )
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert policy["frame-ancestors"] == policy["base-uri"] == policy["form-action"] == "'none'"
    assert "unsafe" not in page.headers["Content-Security-Policy"]
    assert "http:" not in page.text
    assert "https:" not in page.text


def test_foreign_name_for_this_host_is_refused() -> None:
    argv = ("--status-allowed-host", "Status.example")
    with serving(argv=argv) as service:
        client = client_of(service)
        for host in ("evil.example", "localhost.evil.example:80", "evil.example."):
            answer = client.ask("/status.json", headers={"Host": host})
            assert answer.status == 403, host
            assert f"--status-allowed-host {host.partition(':')[0].rstrip('.')}" in answer.text
        known = (
            "localhost:1",
            "LOCALHOST",
            "a.localhost",
            "127.0.0.1",
            "[::1]:9",
            "status.example",
        )
        for host in known:
            assert client.ask("/livez", headers={"Host": host}).status == 200, host


# -- probes ----------------------------------------------------------------------------------------


def test_failing_check_makes_readyz_503_and_not_livez() -> None:
    with serving(Database) as service:
        client = client_of(service)
        assert client.ask("/readyz").status == 200
        service.requireTask(Database).up = False
        answer = client.ask("/readyz")
        assert answer.status == 503
        assert answer.json()["ok"] is False
        checks = answer.json()["checks"]
        assert checks["database"] == {"ok": False, "reason": "ConnectionError: refused"}
        assert checks["Database"] == checks["service"] == {"ok": True}
        assert client.ask("/livez").status == 200
        service.requireTask(Database).up = True
        assert client.ask("/readyz").status == 200


def test_livez_is_503_while_a_vital_check_fails() -> None:
    with serving(VitalDatabase) as service:
        service.requireTask(VitalDatabase).up = False
        answer = client_of(service).ask("/livez")
        assert answer.status == 503
        assert answer.json()["checks"]["database"]["reason"] == "ConnectionError: refused"


def test_checks_of_hooks_count_for_both_probes() -> None:
    class Plugin:
        @hookimpl
        def sparts_checks_add(self, service: VService) -> dict[str, Any]:
            return {"acme.disk": lambda: False}

    def init(service: VService, *args: Any) -> None:
        VService.__init__(service, *args)
        service.hooks.register(Plugin())

    with serving(__init__=init) as service:
        for path in ("/livez", "/readyz"):
            answer = client_of(service).ask(path)
            assert answer.status == 503
            assert answer.json()["checks"]["acme.disk"] == {"ok": False, "reason": "it says so"}


class Lingering(VTask):
    """Holds up the stop until it is let go: the server, which started first, serves meanwhile."""

    LOOPLESS = True

    def __init__(self, service: VService) -> None:
        super().__init__(service)
        self.told, self.go_on = threading.Event(), threading.Event()

    def stop(self) -> None:
        self.told.set()
        self.go_on.wait(WAIT)


def test_readyz_is_503_once_a_stop_begins() -> None:
    with serving(Lingering) as service:
        lingering = service.requireTask(Lingering)
        service.shutdown()
        assert lingering.told.wait(WAIT)
        answer = client_of(service).ask("/readyz")
        assert answer.status == 503
        assert answer.json()["checks"]["service"] == {"ok": False, "reason": "it is STOPPING"}
        assert client_of(service).ask("/livez").status == 200
        lingering.go_on.set()


class Hanging(VTask):
    """Has a check that does not come back until it is let go."""

    LOOPLESS = True
    go_on: threading.Event

    def initTask(self) -> None:  # noqa: N802
        self.go_on = threading.Event()
        self.service.add_check("hangs", lambda: self.go_on.wait(WAIT))


def test_hanging_check_is_given_up_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(StatusHTTPTask, "ANSWER_TIMEOUT", 0.2)
    with serving(Hanging) as service:
        client = client_of(service)
        for _ in range(3):  # however often somebody asks, one thread hangs
            answer = client.ask("/readyz")
            assert answer.status == 503
            assert answer.json()["checks"]["checks"]["reason"] == "No answer within 0.2 s"
        assert client.ask("/livez").status == 200
        answer = client.ask("/status.json")
        assert answer.status == 503
        assert answer.text.startswith("No answer within 0.2 s: /stacks")
        assert "self.go_on.wait(WAIT)" in client.ask("/stacks").text
        asking = [each for each in threading.enumerate() if ".asking" in each.name]
        assert len(asking) < 6
        service.requireTask(Hanging).go_on.set()


# -- everything ------------------------------------------------------------------------------------


def test_status_json_has_no_secrets() -> None:
    argv = ("--db-password", "hunter2-of-the-database")
    with serving(Database, argv=argv, VERSION="4.5") as service:
        service.requireTask(Database).queries.add(3)
        service.registerWarning("hunter2-of-the-database was refused")
        service.setExportedValue("build", "abc")
        text = client_of(service).ask("/status.json").text
        told, described = json.loads(text), service.describe()
    assert told.keys() == described.keys()
    assert (told["name"], told["version"], told["status"]) == ("Service", "4.5", "WARNING")
    assert [(each["name"], each["state"]) for each in told["tasks"]] == [
        ("TornadoIOLoopTask", "ALIVE"),
        ("StatusHTTPTask", "ALIVE"),
        ("Database", "ALIVE"),
    ]
    assert told["counters"]["Database.queries"] == 3
    assert told["options"]["db_password"] == "********"
    assert list(told["warnings"].values()) == ["******** was refused"]
    assert told["exported_values"] == {"build": "abc"}
    assert told["plugins"] == described["plugins"]
    assert "Service.TornadoIOLoopTask" in told["threads"]
    assert told["uptime"] > 0
    assert "hunter2" not in text


# -- as configured ---------------------------------------------------------------------------------


def test_controls_need_a_token_or_unix_socket(tmp_path: Path) -> None:
    service = make_service(service_of("StatusHTTPTask"), "--status-port", "0", "--status-control")
    with pytest.raises(OptionError, match="--status-control needs a token .*SERVICE_STATUS_TOKEN"):
        service.startBG()
    command = [sys.executable, "-c", SCRIPT, "--dryrun", "--status-control"]
    status, output = run_to_end([*command, "--status-port", "0"], cwd=tmp_path)
    assert status == 2
    assert "--status-control needs a token" in output
    status, output = run_to_end([*command, "--status-sock", "s"], cwd=tmp_path)
    assert status == 0, output


def test_routes_of_a_subclass_come_first() -> None:
    from tornado.web import RequestHandler

    class Mine(RequestHandler):
        def get(self) -> None:
            self.write("mine")

    class More(StatusHTTPTask):
        OPT_PREFIX = "more"

        def getApplicationConfig(self) -> list[Any]:  # noqa: N802
            return [("/mine", Mine), *super().getApplicationConfig()]

    with running(service_of(More), "--more-port", "0") as service:
        client = Client(service.requireTask(More).bound_addrs[0][1])
        assert client.ask("/mine").text == "mine"
        assert client.ask("/livez").status == 200


def test_allowed_names_bind_remote_clients(tmp_path: Path) -> None:
    argv = ("--status-sock", str(tmp_path / "s"))
    with running(service_of("StatusHTTPTask"), *argv) as service:
        client = client_of(service)  # over a Unix socket, as a proxy is: from elsewhere
        assert client.ask("/livez", headers={"Host": "any.example"}).status == 200
        service.setOption("status_allowed_host", ["status.example"])
        assert client.ask("/livez", headers={"Host": "status.example"}).status == 200
        assert client.ask("/livez", headers={"Host": "any.example"}).status == 403


def test_token_in_clear_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    warning = "The token of the controls crosses the network in the clear: give --status-tls-cert"
    with serving(argv=CONTROL):
        pass
    assert warning not in caplog.text
    with serving(argv=("--status-host", "0.0.0.0", *CONTROL)):
        pass
    assert warning in caplog.text
