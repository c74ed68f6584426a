"""``--reload``: a service that starts again when its source files change."""

from __future__ import annotations

import signal
import socket
from pathlib import Path

import pytest

from tests.dev.reloads import WAYS, Reloaded, ask, asking

LOCAL = ("--line-host", "127.0.0.1", "--line-port", "0")


@pytest.mark.parametrize("way", list(WAYS))
def test_changes_restart_it_and_refuse_nobody(tmp_path: Path, way: str) -> None:
    with Reloaded(tmp_path, *LOCAL, words=WAYS[way]) as service:
        port = service.started()
        with asking(port) as (heard, failed):
            for number in (2, 3):
                service.write()
                assert service.started(number) == port
            assert ask(port) == "version 3"
        assert failed == []
        assert heard.keys() >= {"version 1", "version 3"}
        assert service.stop() == 0, service.output
        with pytest.raises(ConnectionRefusedError):
            ask(port)


def test_unix_socket_is_kept_until_the_end(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with Reloaded(tmp_path, "--line-sock", str(path)) as service:
        service.wait_for_line("Server Started")
        inode = path.stat().st_ino
        service.write()
        service.wait_for_line("Server Started", 2)
        assert path.stat().st_ino == inode
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
            assert client.recv(100) == b"version 2\n"
        assert service.stop() == 0, service.output
        assert not path.exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stop_reaches_service_and_waiting_parent(tmp_path: Path, number: signal.Signals) -> None:
    with Reloaded(tmp_path, *LOCAL) as service:
        service.started()
        assert service.stop(number) == 0, service.output
        assert "Received!" in service.output
    with Reloaded(tmp_path, words=WAYS["run"], code="1/0") as service:
        service.wait_for_line("ZeroDivisionError")
        service.wait_for_line("Waiting for a change")
        assert service.stop(number) == 0


def test_sighup_reaches_the_service(tmp_path: Path) -> None:
    with Reloaded(tmp_path, *LOCAL, "--level", "INFO") as service:
        service.started()
        service.send(signal.SIGHUP)
        service.wait_for_line("SIGHUP|[Rr]eload")
        assert service.stop() == 0


ENDS = """
class Ends(PeriodicTask):
    INTERVAL = 60

    def execute(self, context):
        self.service.shutdown()


class Service(VService):
    TASKS = [Ends]
"""


def test_end_of_the_service_itself_is_the_end(tmp_path: Path) -> None:
    code = "from sparts.tasks.periodic import PeriodicTask\nfrom sparts.vservice import VService\n"
    with Reloaded(tmp_path, words=WAYS["run"], code=code + ENDS) as service:
        assert service.wait() == 0, service.output


def test_other_files_change_nothing(tmp_path: Path) -> None:
    with Reloaded(tmp_path, *LOCAL) as service:
        service.started()
        (tmp_path / "notes.txt").write_text("not a source file")
        (tmp_path / "__pycache__").mkdir(exist_ok=True)
        (tmp_path / "__pycache__" / "x.py").write_text("")
        service.write()
        service.started(2)
        assert "notes" not in service.output
        assert "x.py" not in service.output


def test_new_folder_counts_with_what_it_holds(tmp_path: Path) -> None:
    """The system reports the folder alone, as it does where a file is in it very soon."""
    watched, new = tmp_path / "watched", tmp_path / "new"
    watched.mkdir()
    (new / "inner").mkdir(parents=True)
    (new / "node_modules").mkdir()
    for path in (new / "notes.txt", new / "inner" / "x.py", new / "node_modules" / "y.py"):
        path.write_text("")
    with Reloaded(watched, *LOCAL) as service:
        service.started()
        new.rename(watched / "new")
        service.wait_for_line(r"Changed: new/inner/x\.py$")
        service.started(2)


def test_dry_run_comes_first(tmp_path: Path) -> None:
    with Reloaded(tmp_path, "--dryrun", "--daemon") as service:
        assert service.wait() == 0, service.output
        assert "Service would run, in this order:" in service.output


def test_daemon_is_refused(tmp_path: Path) -> None:
    with Reloaded(tmp_path, "--daemon", words=WAYS["run"]) as service:
        service.wait_for_line("--reload is for development: leave out --daemon")
        service.wait_for_line("Waiting for a change")
        assert service.stop() == 0
