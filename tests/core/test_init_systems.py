"""Units for systemd and folders for runit, read and run by systemd's and runit's own programs."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from scripts.build_distributions import ROOT
from tests.core.commands import SCRIPT, Done, sparts
from tests.ecosystem.documentation import find_blocks, read_unit
from tests.processes import ServiceProcess, captured

SERVICE = '''
import os, sys
from sparts.options import option
from sparts.vservice import VService

class Web(VService):
    """Serves 100 % of it."""
    TASKS = ["TornadoHTTPTask", "admin=TornadoHTTPTask"]
    words = option(nargs="*")
    token = option(secret=True)

    def preprocessOptions(self):
        if self.words and "show" in self.words:
            print("WORDS", self.words, flush=True)

Web.initFromCLI()
'''
HARD = ["a b", "$HOME", "%h", 'quo"te', "it's", "back\\slash", "new\nline", "ü", ""]


def install(
    folder: Path, *argv: str, text: str = SERVICE, status: int = 0, **variables: Any
) -> Done:
    """Run the service, which ends with this exit status."""
    (folder / "web.py").write_text(text)
    done = sparts(*argv, cwd=folder, by=[sys.executable, "web.py"], **variables)
    assert done.status == status, done
    return done


def verify(*units: Path) -> None:
    """Have systemd check units, of which it has nothing to say."""
    verified = captured(["systemd-analyze", "verify", "--man=no", *units])
    assert (verified.returncode, verified.stderr) == (0, ""), verified


@pytest.mark.needs("systemd")
def test_systemd_accepts_units_and_rates_them_well(tmp_path: Path) -> None:
    argv = ("--systemd-install", "--install-folder", "units", "--http-port", "80")
    more = ("--admin-sock", "admin.sock", "--admin-sock-group", "nogroup", "--logfile", "log")
    done = install(tmp_path, *argv, *more, "--words", *HARD)
    assert done.err == ""
    units = tmp_path / "units"
    names = ["Web-admin.socket", "Web-http.socket", "Web.service"]
    assert sorted(os.listdir(units)) == names
    verify(*(units / name for name in names))
    level = ["systemd-analyze", "security", "--offline=true", "--threshold=20"]
    safe = captured([*level, units / "Web.service"])
    assert safe.returncode == 0, safe.stdout


def test_unit_agrees_with_the_service_and_its_options(tmp_path: Path) -> None:
    done = install(
        tmp_path,
        *("--systemd-install", "--dryrun", "--http-port=8000", "--admin-host", "::1,127.0.0.1"),
        *("--stop-timeout", "1m", "--user", "nobody", "--umask=027", "--daemon"),
        WEB_ADMIN_PORT="8001",
        WEB_TOKEN="not to be seen",
    )
    assert "not to be seen" not in done.out
    assert "# WEB_TOKEN is a secret: LoadCredential=token:" in done.out
    texts = dict(part.split("\n", 1) for part in done.out.split("\n# /")[0:] if part)
    units = {Path(path).name: text for path, text in texts.items()}
    assert "Sockets=Web-http.socket\nSockets=Web-admin.socket\n" in units["Web.service"]
    text = units["Web.service"].replace("Sockets=Web-admin.socket\n", "")
    service = read_unit(text.replace("SystemCallFilter=~", "Without=~"))["Service"]
    command = f"{sys.executable} {tmp_path}/web.py"
    options = "--http-port=8000 --admin-host ::1,127.0.0.1 --stop-timeout 1m --umask=027"
    expected = {
        "ExecStart": f"{command} {options}",
        "Type": "notify",
        "WorkingDirectory": str(tmp_path),
        "Environment": "WEB_ADMIN_PORT=8001",
        "Restart": "on-failure",
        "RestartPreventExitStatus": "2",
        "TimeoutStopSec": "65",
        "WatchdogSec": "30",
        "User": "nobody",
        "UMask": "0027",
    }
    assert service | expected == service
    assert "DynamicUser" not in service
    admin = units["Web-admin.socket"]
    assert "ListenStream=127.0.0.1:8001\nListenStream=[::1]:8001\n" in admin
    http = units["Web-http.socket"]
    assert "ListenStream=0.0.0.0:8000\nListenStream=[::]:8000\n" in http
    http = http.replace("ListenStream=0.0.0.0:8000\n", "")
    assert read_unit(http)["Socket"] == {
        "ListenStream": "[::]:8000",
        "BindIPv6Only": "ipv6-only",
        "Backlog": "1024",
        "FileDescriptorName": "http",
        "Service": "Web.service",
    }


@pytest.mark.needs("systemd")
def test_words_of_command_line_come_through_systemd_unchanged(tmp_path: Path) -> None:
    done = install(tmp_path, "--systemd-install", "--dryrun", "--words", "show", *HARD)
    command = next(line for line in done.out.splitlines() if line.startswith("ExecStart="))
    unit = tmp_path / "words.service"
    unit.write_text(f"[Service]\nType=oneshot\n{command}\n")
    verify(unit)
    assert parse_as_systemd_does(command.removeprefix("ExecStart="))[3:] == ["show", *HARD]


@pytest.mark.parametrize("flag", ["--systemd-install", "--runit-install"])
def test_secret_of_command_line_is_never_written(flag: str, tmp_path: Path) -> None:
    done = install(tmp_path, flag, "--token", "hidden-word", "--dryrun", status=2)
    assert "hidden-word" not in done.out + done.err
    assert "--token is a secret" in done.err


def parse_as_systemd_does(command: str) -> list[str]:
    """Split a command line by the rules of systemd.syntax(7) that concern us."""
    assert "'" not in re.sub(r'"([^"\\]|\\.)*"', "", command)
    escapes = {"\\n": "\n", "$$": "$", "%%": "%"}
    return [
        re.sub(r"\\n|[$%].?", lambda found: escapes[found[0]], word)  # alone, these are variables
        for word in shlex.split(command)
    ]


@pytest.mark.needs("systemd")
def test_socket_of_systemd_is_served(tmp_path: Path) -> None:
    (tmp_path / "web.py").write_text(SERVICE)
    sock = tmp_path / "web.sock"
    command = ["systemd-socket-activate", "-l", str(sock), "--fdname=http", sys.executable]
    with ServiceProcess([*command, "web.py"], cwd=tmp_path) as process:
        process.read_until("Listening on")
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(sock))  # starts it
            client.sendall(b"GET / HTTP/1.0\r\n\r\n")
            process.read_until_started()
            with client.makefile("rb") as answer:
                assert answer.read().endswith(b"Hello, world")
        assert process.stop(signal.SIGTERM) == 0
    assert f"TornadoHTTPTask Server Started on {sock}" in process.output


def test_foreign_files_stay_and_ours_are_rewritten(tmp_path: Path) -> None:
    argv = ("--systemd-install", "--install-folder", str(tmp_path / "units"))
    install(tmp_path, *argv)
    install(tmp_path, *argv, "--level", "INFO")
    unit = tmp_path / "units" / "Web.service"
    assert "--level INFO\n" in unit.read_text()
    unit.write_text("[Service]\n")
    done = install(tmp_path, *argv, status=2)
    assert done.err.endswith(f"{unit} is not of our writing, and is left as it is.\n")
    assert unit.read_text() == "[Service]\n"


@pytest.mark.parametrize("option", ["--systemd-install", "--runit-install"])
def test_folder_that_cannot_be_written(tmp_path: Path, option: str) -> None:
    done = install(tmp_path, option, "--install-folder", "/proc/nowhere", status=2)
    assert "/proc/nowhere" in done.err
    assert "cannot be written" in done.err


def test_tasks_that_sparts_command_runs_are_installed_too(tmp_path: Path) -> None:
    words = ("run", "TornadoHTTPTask", "--runit-install", "--dryrun", "--http-port=0")
    out = sparts(*words, cwd=tmp_path, by=SCRIPT).out
    assert f"exec {sys.executable} {SCRIPT[0]} run TornadoHTTPTask --http-port=0\n" in out


BEATS = """
import os, sys
from sparts.vservice import VService
from sparts.vtask import VTask

class Beats(VTask):
    def _runloop(self):
        with open("told", "w") as told:
            print(os.getpid(), *sys.argv[1:], sep="|", file=told)
        self.stop_event.wait()

class Beating(VService):
    TASKS = [Beats]

Beating.initFromCLI()
"""


@contextmanager
def runsvdir(folder: Path) -> Iterator[None]:
    """Run runit's supervisor of a folder of services, and end all of them."""
    with subprocess.Popen(["runsvdir", folder], stderr=subprocess.DEVNULL) as process:
        try:
            yield
        finally:
            process.send_signal(signal.SIGHUP)  # it sends SIGTERM to each runsv
            assert process.wait() == 111


@pytest.mark.needs("runit")
def test_runit_runs_restarts_and_stops_the_service(tmp_path: Path) -> None:
    (tmp_path / "sv").mkdir()
    os.mkfifo(tmp_path / "told")
    words = ["--start-timeout", "1m", "--log-level-for", "a b$HOME'\"=INFO"]
    argv = ("--runit-install", "--install-folder", str(tmp_path / "sv"), *words)
    done = install(tmp_path, *argv, text=BEATS)
    assert "sv -w 30 down Beating" in done.out
    folder = tmp_path / "sv" / "Beating"

    def sv(*command: str) -> str:
        return subprocess.run(
            ["sv", "-w", "60", *command, folder], capture_output=True, text=True, check=True
        ).stdout

    def read_start() -> tuple[int, list[str]]:
        pid, *seen = (tmp_path / "told").read_text().rstrip("\n").split("|")
        return int(pid), seen

    with runsvdir(tmp_path / "sv"):
        pid, seen = read_start()
        assert seen == words
        os.kill(pid, signal.SIGKILL)
        again, _ = read_start()
        assert again != pid
        assert f"run: {folder}: (pid {again})" in sv("status")
        assert sv("down").startswith(f"ok: down: {folder}:")
        sv("start")
        third, _ = read_start()
        (folder / "run").write_text("#!/bin/sh\nexit 2\n")
        os.kill(third, signal.SIGTERM)
        while not (status := sv("status")).startswith("down") or "want up" in status:
            threading.Event().wait(0.02)  # runsv tells nobody
    log = (folder / "log" / "main" / "current").read_text()
    assert "All tasks started" in log
    assert log.count("Instance shut down gracefully") == 2
    assert log.count("Beating: wrong use, not started again until it is corrected") == 1


def test_runit_folder_says_nothing_of_secrets(tmp_path: Path) -> None:
    argv = ("--runit-install", "--dryrun")
    done = install(tmp_path, *argv, WEB_TOKEN="not to be seen", WEB_HTTP_PORT="8000")
    assert "not to be seen" not in done.out
    assert "# WEB_TOKEN is a secret: export WEB_TOKEN_FILE=" in done.out
    assert "\nexport WEB_HTTP_PORT=8000\n" in done.out
    assert json.dumps("$1")[1:-1] in done.out


@pytest.mark.needs("systemd")
def test_documented_units_of_copies_are_good(tmp_path: Path) -> None:
    page = ROOT / "docs" / "how-to" / "many-processes.md"
    units = [block.code for block in find_blocks(page, page.read_text()) if block.kind == "ini"]
    names = ("myservice@.service", "myservice-http.socket")
    for name, text in zip(names, units, strict=True):
        (tmp_path / name).write_text(text.replace("/opt/myservice/bin/python", sys.executable))
    (tmp_path / "myservice@1.service").symlink_to(names[0])
    verify(tmp_path / "myservice@1.service", tmp_path / names[1])
