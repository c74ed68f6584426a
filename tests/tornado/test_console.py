"""The commands for a terminal: where services announce themselves, and what the commands do."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import stat
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest
from sparts.errors import UsageError
from sparts.tasks.queue import QueueTask
from sparts.tasks.tornado.console import client, commands, registry
from sparts.tasks.tornado.console.client import NoAnswerError, client_of
from sparts.testing.running import running, service_of
from sparts.testing.waiting import WAIT, log_of
from sparts.vtask import VTask

from tests.threads import in_threads
from tests.tornado.page_services import Database, Mailer, Report, busy
from tests.tornado.status_clients import CONTROL, TOKEN
from tests.tornado.terminals import Terminal, sparts
from tests.tornado.test_status_page import url_of


@pytest.fixture(autouse=True)
def folder(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give each test a folder of announcements of its own."""
    path = tmp_path_factory.mktemp("r")
    monkeypatch.setenv("SPARTS_RUNTIME_DIR", str(path))
    return path


def test_service_announces_itself_while_it_runs(folder: Path) -> None:
    with running(service_of("StatusHTTPTask"), "--status-port", "0") as service:
        (found,) = registry.find()
        assert (found.name, found.pid, found.url) == ("Service", os.getpid(), url_of(service))
        assert stat.S_IMODE(os.stat(found.socket).st_mode) == 0o600
        assert stat.S_IMODE((folder / f"{os.getpid()}.json").stat().st_mode) == 0o600
        client_of("Service").act("restart")
        service.health.ended.wait(WAIT)
    assert list(folder.iterdir()) == []


def test_what_killed_service_left_is_ignored_and_removed(folder: Path) -> None:
    left = folder / "999999.sock"
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(left))
    told = {
        "name": "Old",
        "pid": 999999,
        "url": "",
        "socket": str(left),
        "version": "",
        "started": 0,
    }
    (folder / "999999.json").write_text(json.dumps(told))
    (folder / "broken.json").write_text("{")
    assert registry.find() == []
    assert [path.name for path in folder.iterdir()] == ["broken.json"]


def test_folder_of_another_user_is_not_trusted(folder: Path, caplog: Any) -> None:
    caplog.set_level("INFO")
    folder.chmod(0o777)
    with running(service_of("StatusHTTPTask"), "--status-port", "0"):
        assert list(folder.iterdir()) == []
    assert "The service is not announced" in caplog.text


@pytest.mark.parametrize(
    ("variables", "root", "path"),
    [
        ({"SPARTS_RUNTIME_DIR": "/a", "XDG_RUNTIME_DIR": "/b"}, True, "/a"),
        ({"XDG_RUNTIME_DIR": "/b"}, True, "/run/sparts"),
        ({"XDG_RUNTIME_DIR": "/b"}, False, "/b/sparts"),
        ({}, False, "None"),
    ],
)
def test_folder_is_chosen_by_user_and_environment(
    variables: dict[str, str], root: bool, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("SPARTS_RUNTIME_DIR", "XDG_RUNTIME_DIR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(os, "geteuid", lambda: 0 if root else 1000)
    assert str(registry.folder()) == path


def test_ps_lists_services_here_and_at_urls(capsys: pytest.CaptureFixture[str]) -> None:
    assert commands.ps([]) == 0
    assert "No service is announced. A service announces itself if" in capsys.readouterr().out
    with pytest.raises(UsageError, match='add "StatusHTTPTask" to its TASKS'):
        commands.status(["Service"])
    with busy() as service:
        assert commands.ps(["--json"]) == 0
        (found,) = json.loads(capsys.readouterr().out)
        assert (found["name"], found["pid"], found["url"]) == (
            "Service", os.getpid(), url_of(service),
        )  # fmt: skip
        assert commands.ps([url_of(service), "http://127.0.0.1:9/"]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert lines[0].split() == ["NAME", "PID", "STATUS", "READY", "UP", "URL"]
        assert [line.split()[0] for line in lines[1:3]] == ["Service", "Service"]
        assert "does not answer" in lines[3]


def test_stopped_services_do_not_hold_up_the_list(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(client, "PATIENCE", 0.2)
    told = {"name": "Silent", "url": "http://x/", "version": "", "started": 0.0}
    paths: list[str] = []
    with contextlib.ExitStack() as stack:
        for _ in range(20):  # they listen and do not answer, as a process under SIGSTOP
            silent = registry.Announcement(folder, told)
            stack.callback(silent.close)
            paths.append(str(silent.path))
        full = [stack.enter_context(socket.socket(socket.AF_UNIX)) for _ in range(20)]
        for each in full:
            each.setblocking(False)
            each.connect_ex(paths[0])
        assert commands.ps(["--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    states = [each["status"] for each in found]
    assert (states.count("does not answer"), len(states)) == (20, 20)
    problems = [each["problem"] for each in found if each["name"] == "Silent"]
    assert all(each.startswith("Silent does not answer") for each in problems)


def test_status_tells_tasks_and_reasons(capsys: pytest.CaptureFixture[str]) -> None:
    with busy() as service:
        service.requireTask(Database).up = False
        service.registerWarning("the disk\x1b[2J is full\u202e")
        assert commands.status(["Service"]) == 0
        told = capsys.readouterr().out
        assert "WARNING, not ready" in told
        assert "  database: ConnectionError: refused (since " in told
        assert "the disk\\x1b[2J is full\\u202e" in told
        assert any(line.split()[:2] == ["Mailer", "ALIVE"] for line in told.splitlines())
        assert commands.status([str(os.getpid()), "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["ready"] is False


def test_options_are_read_and_set_over_control_socket(capsys: pytest.CaptureFixture[str]) -> None:
    with busy() as service:  # without --status-control: the socket is its owner's
        assert commands.get(["Service", "--mailer-most"]) == 0
        assert commands.set_option(["Service", "mailer-most", "7"]) == 0
        assert commands.get(["Service", "--json", "mailer_most"]) == 0
        assert capsys.readouterr().out == "20\nmailer_most is set.\n7\n"
        assert service.requireTask(Mailer).most == 7
        with pytest.raises(NoAnswerError, match="expected a whole number"):
            commands.set_option(["Service", "mailer-most", "many"])
        with pytest.raises(UsageError, match="no option 'nothing'"):
            commands.get(["Service", "nothing"])
        with pytest.raises(UsageError, match="Did you mean 'mailer_most'"):
            commands.get(["Service", "--Mailer-most"])
        with pytest.raises(UsageError, match="`sparts top` needs a terminal"):
            commands.top([])


def test_one_task_is_restarted_and_stopped(capsys: pytest.CaptureFixture[str]) -> None:
    with busy() as service:
        report, mailer = service.requireTask(Report), service.requireTask(Mailer)
        assert commands.restart(["Service", "Report"]) == 0
        new = service.requireTask(Report)
        assert new is not report
        assert (report.state, new.state) == ("STOPPED", "ALIVE")
        new.execute_async().result(WAIT)
        mailer.may_end.set()
        assert commands.drain(["Service", "Database"]) == 0
        assert capsys.readouterr().out == "Restarted: Report.\nStopped: Database, Mailer.\n"
        assert set(mailer.done) == {"one", "two", "slow four", "slow five", "six", "seven"}
        assert not service.ready
        with pytest.raises(NoAnswerError, match="StatusHTTPTask serves this page"):
            commands.restart(["Service", "StatusHTTPTask"])
        assert commands.restart(["Service", "Database"]) == 0
        assert service.ready


class Narrow(QueueTask):
    """A queue that is full with one item."""

    WORKERS, MAX_ITEMS = 1, 1

    def initTask(self) -> None:  # noqa: N802
        super().initTask()
        self.begun, self.go_on = threading.Event(), threading.Event()

    def execute(self, item: Any, context: Any) -> None:
        self.begun.set()
        self.go_on.wait(WAIT)


class Producer(VTask):
    """Puts items into the queue without end."""

    def _runloop(self) -> None:
        queue = self.service.requireTask(Narrow).queue
        while self.running:
            queue.put("item")


def test_waiting_producer_is_no_failure_at_the_stop() -> None:
    with running(service_of(Narrow, Producer)) as service, log_of(service) as log:
        narrow = service.requireTask(Narrow)
        assert narrow.begun.wait(WAIT)
        service.shutdown()
        log.wait_for_line("WARNING:Service.Producer:Producer ends: Narrow takes no more items")
        narrow.go_on.set()


def test_drained_queue_ends_its_producer_alone(capsys: pytest.CaptureFixture[str]) -> None:
    service_class = service_of(Narrow, Producer, "StatusHTTPTask")
    with running(service_class, "--status-port", "0") as service, log_of(service) as log:
        narrow, producer = service.requireTask(Narrow), service.requireTask(Producer)
        assert narrow.begun.wait(WAIT)
        with in_threads(lambda: commands.drain(["Service", "Narrow"])):
            log.wait_for_line("WARNING:Service.Producer:Producer ends: Narrow takes no more items")
            narrow.go_on.set()
        for thread in producer.threads:
            thread.join(WAIT)
        assert capsys.readouterr().out == "Stopped: Narrow.\n"
        assert (narrow.state, producer.state) == ("STOPPED", "DONE")
        assert service.requireTask("StatusHTTPTask").state == "ALIVE"


def test_server_that_is_restarted_serves_again() -> None:
    with busy() as service:
        commands.restart(["Service", "TornadoHTTPTask"])
        host, port = service.requireTask("TornadoHTTPTask").bound_addrs[0]
        with socket.create_connection((host, port), WAIT) as client:
            client.sendall(b"GET / HTTP/1.0\r\n\r\n")
            assert client.recv(100).startswith(b"HTTP/1.1 200")


def test_tail_follows_until_the_service_stops(caplog: Any) -> None:
    caplog.set_level("INFO")
    with busy() as service:
        command = sparts("tail", "Service", "--task", "Mailer")
        with Terminal(command, 80, 50) as terminal:
            terminal.read_until("Gave up 'bad three'")
            service.requireTask(Mailer).logger.warning("a line to follow")
            terminal.read_until("WARNING Service.Mailer: a line to follow")
            service.requireTask(Mailer).may_end.set()
            assert commands.stop(["Service"]) == 0
            assert terminal.finish() == 0
            assert "Server Started" not in terminal.text()
        assert service.ended.wait(WAIT)


def test_stacks_and_log_are_printed(capsys: pytest.CaptureFixture[str], caplog: Any) -> None:
    caplog.set_level("INFO")
    with busy():
        assert commands.stacks(["Service"]) == 0
        assert "Thread Service.Mailer-0:" in capsys.readouterr().out
        assert commands.tail(["Service", "--no-follow", "--level", "error"]) == 0
        told = capsys.readouterr().out
        assert "Gave up 'bad three'" in told
        assert "Server Started" not in told
        assert commands.tail(["Service", "--no-follow", "--json", "--task", "Mailer"]) == 0
        lines = [json.loads(each) for each in capsys.readouterr().out.splitlines()]
        assert {each["logger"] for each in lines} == {"Service.Mailer"}


def test_url_takes_a_token_to_act(capsys: pytest.CaptureFixture[str]) -> None:
    with busy(*CONTROL) as service:
        with pytest.raises(NoAnswerError, match="It takes the token"):
            commands.restart([url_of(service), "Report"])
        assert commands.restart([url_of(service), "Report", "--token", TOKEN]) == 0
    with busy() as service, pytest.raises(NoAnswerError, match="Controls exist only with"):
        commands.restart([url_of(service), "Report"])


def test_unknown_or_ambiguous_name_is_refused() -> None:
    with busy(), running(service_of("StatusHTTPTask"), "--status-port", "0"):
        with pytest.raises(UsageError, match="2 services are named 'Service'"):
            client_of("Service")
        with pytest.raises(UsageError, match="Did you mean 'Service'"):
            client_of("Servic")


def test_service_without_a_folder_logs_that(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    monkeypatch.setattr("sparts.tasks.tornado.status.task.folder", lambda: None)
    with running(service_of("StatusHTTPTask"), "--status-port", "0"):
        assert "not announced to `sparts ps`: give it a folder by SPARTS_RUNTIME" in caplog.text
        assert "--no-status-announce" in caplog.text


def test_service_that_shall_not_be_announced_is_not(folder: Path) -> None:
    with running(service_of("StatusHTTPTask"), "--status-port", "0", "--no-status-announce"):
        assert list(folder.iterdir()) == []


@pytest.mark.parametrize(("columns", "lines"), [(80, 24), (200, 50)])
def test_ps_fits_the_terminal_and_has_colours(columns: int, lines: int) -> None:
    with busy(), Terminal(sparts("ps"), columns, lines) as terminal:
        assert terminal.finish() == 0
        shown = [line for line in terminal.text().splitlines() if line.strip()]
        assert shown[0].split()[:3] == ["NAME", "PID", "STATUS"]
        cells = terminal.screen.buffer[1]
        assert any(cells[column].fg in ("brown", "yellow") for column in range(columns))


class Replaced(BaseHTTPRequestHandler):
    """A service of one copy, which is replaced: its answers, one after the other."""

    answers: ClassVar[list[tuple[str, int, str]]]

    def do_GET(self) -> None:
        path, status, body = self.answers.pop(0)
        assert self.path.startswith(path)
        self.send_response(status)
        self.send_header("Content-Length", str(len(body) + (status == 206)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_: object) -> None:
        """Print nothing."""


@pytest.fixture
def replaced() -> Iterator[str]:
    """Give the URL of a service that answers what `Replaced.answers` holds."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Replaced) as server:
        threading.Thread(target=server.serve_forever).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def of_copies(*numbers: int) -> str:
    """The state of a service of these copies."""
    return json.dumps({"tasks": [], "uptime": 0, "copies": [{"number": each} for each in numbers]})


def line(text: str, time: float) -> str:
    """A log line, as an event."""
    told = {"time": time, "level": "INFO", "logger": "S.Web", "text": text}
    return f"event: log\ndata: {json.dumps([told])}\n\n"


def test_tail_goes_on_after_a_refused_answer(
    replaced: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(commands, "AGAIN", 0.0)
    Replaced.answers = [
        ("/status.json", 200, of_copies(1)),
        ("/events?copy=1", 200, line("old", 1.0)),
        ("/status.json", 503, "The parent of the copies has gone."),
        ("/events?copy=1", 503, "Copy 1 does not answer now."),
        ("/status.json", 206, of_copies(1)),  # cut off
        ("/events?copy=1", 200, line("old", 1.0) + line("new", 2.0)),
        ("/status.json", 200, of_copies(2)),
    ]
    assert commands.tail([replaced]) == 0
    shown = [each.partition(" S.Web: ")[2] for each in capsys.readouterr().out.splitlines()]
    assert shown == ["old [copy=1]", "new [copy=1]"]


@pytest.mark.parametrize("body", ["<html>", "[]", '{"name": "other"}'])
def test_other_page_is_no_service(
    body: str, replaced: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Replaced.answers = [("/status.json", 200, body)] * 2
    with pytest.raises(NoAnswerError, match="is no status page of a service"):
        commands.status([replaced])
    assert commands.ps([replaced, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["status"] == "?"


@pytest.mark.parametrize("url", ["http://", "http://[::1", "http://localhost:port", "http://a b"])
def test_malformed_url_is_an_error(url: str) -> None:
    with pytest.raises(NoAnswerError, match="does not answer"):
        commands.status([url])
