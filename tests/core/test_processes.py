"""``--processes N``: copies behind one port, replaced one after the other, and missed by nobody."""

from __future__ import annotations

import os
import re
import signal
import socket
import ssl
import sys
from pathlib import Path

import pytest
from sparts.testing.certificates import FIRST_CERTIFICATE, SECOND_CERTIFICATE
from sparts.testing.processes import ServiceProcess

from tests.core.copies import HEAD, PLAIN, Copies, children_of, ready
from tests.core.scripts import script_of
from tests.processes import WITHOUT_LINUX, idle_switches


def test_all_copies_serve_one_port(tmp_path: Path) -> None:
    with ready(tmp_path) as service:
        pids = service.pids
        assert {service.ready_pid(1), service.ready_pid(2)} == set(pids)
        assert len(os.listdir(f"/proc/{service.pid}/task")) == 2  # one of them writes the log
        assert {service.ask() for _ in range(50)} <= set(pids)
        assert service.stop() == 0, service.output
        service.wait_gone(*pids)


def test_sighup_replaces_all_copies(tmp_path: Path) -> None:
    with ready(tmp_path) as service:
        before = service.pids
        service.send(signal.SIGHUP)
        service.wait_replaced()
        service.wait_gone(*before)
        assert len(service.pids) == 2
        assert service.ask() in service.pids
        assert not set(before) & set(service.pids)
        replaced = [line for line in service.lines if "is ready" in line]
        assert [re.findall(r"Copy (\d)", line)[0] for line in replaced] == ["1", "2", "1", "2"]


DEPENDS = """
class Needs(Worker):
    DEPS = [Once]
    def initTask(self):
        self.logger.info("needs it in %d", os.getpid())
TASKS = [Web, Needs]
"""


def test_task_needing_a_single_one_runs_once(tmp_path: Path) -> None:
    with ready(tmp_path, DEPENDS) as service:
        os.kill(service.ready_pid(1), signal.SIGKILL)
        service.wait_for_line("needs it in", 2)
        assert len(re.findall("needs it in", service.output)) == 2


def test_single_task_moves_once_when_copies_are_replaced(tmp_path: Path) -> None:
    with ready(tmp_path, PLAIN, "--processes", "3") as service:
        service.send(signal.SIGHUP)
        service.wait_replaced()
        ran = service.wait_for_line(r"once in (\d+)", 2)
        assert int(ran[1]) == service.ready_pid(1, 2), service.output
        assert service.stop() == 0, service.output
        assert len(re.findall("once in", service.output)) == 2


@pytest.mark.parametrize("number", ["0", "-1", "1000", "many"])
def test_wrong_number_of_copies_is_refused(number: str, tmp_path: Path) -> None:
    with Copies(tmp_path, "class S(VService): pass", f"--processes={number}") as service:
        assert service.wait() == 2
        assert "--processes" in service.output


def test_other_systems_than_linux_are_refused(tmp_path: Path) -> None:
    without = str(Path(WITHOUT_LINUX).resolve())
    with Copies(tmp_path, PLAIN, "--processes", "2", PYTHONPATH=without) as service:
        assert service.wait() == 2
        assert "--processes needs Linux: run one process here." in service.output


def test_auto_is_a_copy_for_each_cpu(tmp_path: Path) -> None:
    with ready(tmp_path, "TASKS = [Idle]", "--processes", "auto") as it:
        assert 1 <= len(it.pids) <= len(os.sched_getaffinity(0))


def test_interrupt_of_a_terminal_reaches_each_copy_once(tmp_path: Path) -> None:
    with ready(tmp_path) as service:
        assert all(os.getpgid(pid) == pid for pid in service.pids)
        assert service.stop(signal.SIGINT) == 0, service.output


def test_ttin_and_ttou_change_the_number_of_copies(tmp_path: Path) -> None:
    with ready(tmp_path) as service:
        service.send(signal.SIGTTIN)
        third = service.ready_pid(3)
        service.send(signal.SIGTTOU)
        service.wait_gone(third)
        assert sorted(service.pids) == sorted([service.ready_pid(1), service.ready_pid(2)])


def test_systemd_hears_of_the_whole_service(tmp_path: Path) -> None:
    with ready(tmp_path) as service:
        service.wait_for_notification("STATUS=Copies ready: 2 of 2.")
        service.send(signal.SIGHUP)
        service.wait_for_notification("RELOADING=1")
        service.wait_replaced()
        service.send(signal.SIGTTIN)
        service.wait_for_notification("STATUS=Copies ready: 2 of 3.")
        service.wait_for_notification("STATUS=Copies ready: 3 of 3.")
        assert service.stop() == 0
        service.wait_for_notification("STOPPING=1")


def test_watchdog_of_systemd_is_fed_by_the_parent(tmp_path: Path) -> None:
    body = "TASKS = [Idle]"
    with Copies(tmp_path, body, "--processes", "1", WATCHDOG_USEC="400000") as service:
        service.wait_for_notification("WATCHDOG=1")


INHERITS = """
import socket
if "PORT" not in os.environ:  # in the parent alone
    listener = socket.create_server(("127.0.0.1", 0))
    os.dup2(listener.fileno(), 3)
    os.environ["PORT"] = str(listener.getsockname()[1])
    os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1")
os.write(1, f"inherited {os.environ['PORT']}\\n".encode())
TASKS = [Web]
"""


def test_inherited_socket_is_shared_by_all_copies(tmp_path: Path) -> None:
    with ready(tmp_path, INHERITS) as service:
        assert int(service.wait_for_line(r"inherited (\d+)")[1]) == service.port
        assert service.ask() in service.pids
        assert service.stop() == 0, service.output


def test_unix_socket_is_shared_and_removed(tmp_path: Path) -> None:
    path = tmp_path / "web.sock"
    with Copies(tmp_path, "TASKS = [Web]", "--processes", "2",
                "--web-sock", str(path)) as service:  # fmt: skip
        service.wait_ready()
        service.send(signal.SIGHUP)
        service.wait_replaced()
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(path))
            assert int(connection.makefile().readline()) in service.pids
        assert service.stop() == 0
        assert not path.exists()


def test_all_processes_write_to_one_log_file(tmp_path: Path) -> None:
    argv = ("--processes", "2", "--logfile", "log")
    with ready(tmp_path, "TASKS = [Web]", *argv) as service:
        (tmp_path / "log").rename(tmp_path / "log.1")
        service.send(signal.SIGHUP)
        service.wait_for_notification("RELOADING=1")
        assert service.stop() == 0, (tmp_path / "log").read_text()
        assert (tmp_path / "log.1").read_text().count("Web Server Started") == 2
        assert "SIGTERM Received!  Stopping the copies" in (tmp_path / "log").read_text()
        assert service.lines == []


def test_dry_run_starts_nothing(tmp_path: Path) -> None:
    with Copies(tmp_path, "TASKS = [Web]", "--processes", "2",
                "--dryrun") as service:  # fmt: skip
        assert service.wait() == 0
        assert "would run" in service.output
        assert "Copy" not in service.output


def test_idle_parent_does_not_wake_up(tmp_path: Path) -> None:
    with ready(tmp_path) as service:
        for number in (1, 2):
            service.wait_for_line(rf"Web Server Started on .* \[copy={number}\]$")
        service.wait_for_notification("STATUS=Copies ready: 2 of 2.")
        assert idle_switches(service.pid, 1.0) <= 1


def test_daemon_holds_the_pid_file_for_all_copies(tmp_path: Path) -> None:
    argv = ("--pidfile", str(tmp_path / "s.pid"))
    body = "TASKS = [Web]"
    with Copies(tmp_path, body, "--processes", "2", "--daemon", *argv) as starter:
        assert starter.wait() == 0, starter.output
    pid = int((tmp_path / "s.pid").read_text().split()[0])
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    assert len(children) == 2
    with Copies(tmp_path, body, "--kill", *argv) as killer:
        assert killer.wait() == 0, killer.output
        killer.wait_gone(*map(int, children))
    assert not (tmp_path / "s.pid").exists()


def test_daemon_that_fails_to_start_says_why(tmp_path: Path) -> None:
    (tmp_path / "broken").touch()
    argv = ("--processes", "2", "--daemon", "--pidfile", str(tmp_path / "s.pid"))
    with Copies(tmp_path, "TASKS = [Web, Broken]", *argv) as starter:
        assert starter.wait() == 1
        assert "it is broken" in starter.output
        assert not (tmp_path / "s.pid").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user")
def test_copies_become_the_user_but_not_the_parent(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    body = "TASKS = [Web]"
    argv = ("--processes", "2", "--user", "nobody", "--web-sock", str(tmp_path / "sock"))
    with ready(tmp_path, body, *argv) as service:
        assert {os.stat(f"/proc/{pid}").st_uid for pid in service.pids} == {65534}
        assert (tmp_path / "sock").stat().st_uid == 65534
        service.send(signal.SIGHUP)
        service.wait_replaced()
        assert service.stop() == 0, service.output


def test_copies_start_where_the_parent_was_started(tmp_path: Path) -> None:
    """Where a link leads by then: the next release."""
    for release in ("1", "2"):
        (tmp_path / release / "run").mkdir(parents=True)
        (tmp_path / release / "bin").mkdir()
        (tmp_path / release / "release").write_text(release)
    link = tmp_path / "current"
    link.symlink_to("1")
    body = """
        class Tells(Worker):
            def initTask(self):
                release = open(os.path.dirname(__file__) + "/../release").read()
                os.write(1, f"release {release} {os.path.basename(os.getcwd())}\\n".encode())
        """
    for release in ("1", "2"):
        script_of(tmp_path / release / "bin", body, HEAD)
    command = [sys.executable, "bin/service.py", "--processes", "1", "--chdir", "run"]
    with ServiceProcess(command, cwd=link, env={"PWD": str(link)}) as service:
        service.wait_for_line("^release 1 run$")
        service.wait_ready()
        link.unlink()
        link.symlink_to("2")
        service.send(signal.SIGHUP)
        service.wait_for_line("^release 2 run$")


def test_grandchild_of_a_copy_is_no_copy(tmp_path: Path) -> None:
    body = """
        import subprocess

        class Starts(Worker):
            def initTask(self):
                if "--level" not in sys.argv:
                    words = [sys.executable, __file__, "--level", "INFO"]
                    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as other:
                        os.write(1, f"other {other.stdout.readline()}".encode())
                        other.terminate()
                os.write(1, f"works as {self.service.hooks.kept.get('processes')}\\n".encode())
        """
    with Copies(tmp_path, body, "--processes", "1") as service:
        service.wait_for_line("^other works as None")
        assert service.stop() == 0, service.output


def test_replaced_copies_serve_the_new_certificate(tmp_path: Path) -> None:
    path = tmp_path / "server.pem"
    path.write_text(FIRST_CERTIFICATE)
    argv = ("--processes", "2", "--web-tls-cert", str(path))
    with ready(tmp_path, "TASKS = [Web]", *argv) as service:
        address = ("127.0.0.1", service.port)
        first = ssl.get_server_certificate(address)
        assert first in FIRST_CERTIFICATE
        path.write_text(SECOND_CERTIFICATE)
        service.send(signal.SIGHUP)
        service.wait_replaced()
        service.wait_gone(service.ready_pid(1), service.ready_pid(2))
        assert ssl.get_server_certificate(address) in SECOND_CERTIFICATE


SLOW = """
class Slow(Worker):
    def initTask(self):
        os.write(1, b"starts\\n")
        while not os.path.exists("go"):
            time.sleep(0.02)
"""


def test_sighup_during_the_start_replaces_after_it(tmp_path: Path) -> None:
    with Copies(tmp_path, SLOW) as service:
        service.wait_for_line("^starts")
        service.send(signal.SIGHUP)
        (tmp_path / "go").touch()
        service.wait_replaced()
        assert service.stop() == 0, service.output


def test_sigterm_during_the_start_ends_in_order(tmp_path: Path) -> None:
    with Copies(tmp_path, SLOW) as service:
        service.wait_for_line("^starts")
        service.send(signal.SIGTERM)
        service.wait_for_line("Stopping the copies")
        (tmp_path / "go").touch()
        assert service.wait() == 0, service.output


def test_sparts_run_starts_copies(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "sparts", "run", "QueueTask", "--processes", "2"]
    with ServiceProcess(command, cwd=tmp_path) as service:
        service.wait_ready()
        assert len(children_of(service.pid)) == 2
        assert service.stop() == 0, service.output


def test_waiting_copy_is_started_by_a_replacement(tmp_path: Path) -> None:
    body = """
        class Crashes(VTask):
            def _runloop(self):
                self.stop_event.wait(0.1)
                if not os.path.exists("mended"):
                    os._exit(3)
                self.stop_event.wait()
        """
    with Copies(tmp_path, body, "--processes", "1") as service:
        service.wait_for_line("failed 4 times in a row: it is started again in 2 s")
        (tmp_path / "mended").touch()
        count = service.output.count("is ready")
        service.send(signal.SIGHUP)
        service.ready_pid(1, count + 1)
        service.send(signal.SIGTTIN)
        service.wait_for_line("Copies wanted: 2")
        service.send(signal.SIGTTOU)
        service.wait_for_line("Copies wanted: 1")
        assert service.stop() == 0, service.output


def test_ready_of_another_process_is_not_believed(tmp_path: Path) -> None:
    with Copies(tmp_path, SLOW) as service:
        service.wait_for_line("^starts")
        (pid,) = service.pids
        environment = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        (address,) = [each[14:] for each in environment if each.startswith(b"NOTIFY_SOCKET=")]
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.sendto(b"READY=1", b"\0" + address[1:])
        service.send(signal.SIGTTIN)  # acted on after what came before it
        service.wait_for_line("Copies wanted: 3")
        assert "is ready" not in service.output
        (tmp_path / "go").touch()
        service.wait_ready()
        assert len(service.pids) == 3
