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

from tests.core.copies import PLAIN, Copies, children_of, ready
from tests.processes import WITHOUT_LINUX, idle_switches


def test_all_copies_serve_one_port(tmp_path: Path) -> None:
    with ready(tmp_path) as service:
        pids = service.pids
        assert {service.ready_pid(1), service.ready_pid(2)} == set(pids)
        assert {service.ask() for _ in range(50)} <= set(pids)
        assert service.stop() == 0, service.output
        service.wait_gone(*pids)


def test_parent_runs_no_task(tmp_path: Path) -> None:
    with ready(tmp_path) as service:
        assert len(os.listdir(f"/proc/{service.pid}/task")) == 2  # one of them writes the log


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


BROKEN = """
class Broken(VTask):
    def initTask(self):
        if os.path.exists("broken"):
            raise ValueError("it is broken")
    def _runloop(self):
        self.stop_event.wait()
TASKS = [Web, Broken]
"""


DEPENDS = """
class Needs(VTask):
    DEPS = [Once]
    def _runloop(self):
        self.logger.info("needs it in %d", os.getpid())
        self.stop_event.wait()
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


def test_unknown_word_in_processes_attribute_is_wrong_use(tmp_path: Path) -> None:
    body = "Once.PROCESSES = 'last'\nTASKS = [Once]"
    with Copies(tmp_path, body) as service:
        assert service.wait() == 2
        assert re.search(
            r"Once\.PROCESSES .*is 'last'\. It must be 'all' or 'first'", service.output
        )


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
        service.wait_for_notification("STATUS=2 of 2 copies are ready.")
        service.send(signal.SIGHUP)
        service.wait_for_notification("RELOADING=1")
        service.wait_replaced()
        service.send(signal.SIGTTIN)
        service.wait_for_notification("STATUS=2 of 3 copies are ready.")
        service.wait_for_notification("STATUS=3 of 3 copies are ready.")
        assert service.stop() == 0
        service.wait_for_notification("STOPPING=1")


def test_watchdog_of_systemd_is_fed_by_the_parent(tmp_path: Path) -> None:
    body = "TASKS = [Idle]"
    with Copies(tmp_path, body, "--processes", "1", WATCHDOG_USEC="400000") as service:
        service.wait_for_notification("WATCHDOG=1")


def test_inherited_socket_is_shared_by_all_copies(tmp_path: Path) -> None:
    script = "import os, sys\nos.dup2(int(sys.argv[1]), 3)\nos.set_inheritable(3, True)\n"
    script += "os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='1')\n"
    script += "os.execv(sys.executable, [sys.executable, *sys.argv[2:]])\n"
    (tmp_path / "hand.py").write_text(script)
    with Copies(tmp_path, "TASKS = [Web]", "--tasks") as service:
        assert service.wait() == 0
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.set_inheritable(True)
        command = [sys.executable, "hand.py", str(listener.fileno()), "service.py"]
        import subprocess

        with subprocess.Popen(
            [*command, "--processes", "2"],
            cwd=tmp_path,
            pass_fds=[listener.fileno()],
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stderr is not None
            while "All 2 copies are ready" not in (line := process.stderr.readline()):
                assert line
            with socket.create_connection(listener.getsockname()) as connection:
                assert int(connection.makefile().readline()) != process.pid
            process.terminate()
            assert process.wait() == 0


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


def test_log_lines_name_the_copy(tmp_path: Path) -> None:
    with ready(tmp_path) as service:
        service.wait_for_line(r"Web Server Started on .* \[copy=1\]$")
        service.wait_for_line(r"Web Server Started on .* \[copy=2\]$")


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
        service.wait_for_notification("STATUS=2 of 2 copies are ready.")
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
    with Copies(tmp_path, BROKEN, *argv) as starter:
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
        (tmp_path / release).mkdir()
        (tmp_path / release / "run").mkdir()
        (tmp_path / release / "release").write_text(release)
    (tmp_path / "current").symlink_to("1")
    body = """
        class Tells(VTask):
            def _runloop(self):
                release = open(os.path.dirname(__file__) + "/../release").read()
                os.write(1, f"release {release} {os.path.basename(os.getcwd())}\\n".encode())
                self.stop_event.wait()
        """
    (tmp_path / "2" / "bin").mkdir()
    (tmp_path / "1" / "bin").mkdir()
    link = tmp_path / "current"
    with Copies(tmp_path / "1" / "bin", body, "--dryrun") as dry:
        assert dry.wait() == 0
    (tmp_path / "2" / "bin" / "service.py").write_text((tmp_path / "1/bin/service.py").read_text())
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

        class Starts(VTask):
            def initTask(self):
                if "--level" not in sys.argv:
                    words = [sys.executable, __file__, "--level", "INFO"]
                    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as other:
                        os.write(1, f"other {other.stdout.readline()}".encode())
                        other.terminate()
            def _runloop(self):
                os.write(1, f"works as {self.service.hooks.kept.get('processes')}\\n".encode())
                self.stop_event.wait()
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
class Slow(VTask):
    def initTask(self):
        os.write(1, b"starts\\n")
        while not os.path.exists("go"):
            time.sleep(0.02)
    def _runloop(self):
        self.stop_event.wait()
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
    (tmp_path / "tasks.py").write_text(
        "from sparts.vtask import VTask\nclass T(VTask):\n"
        "    def _runloop(self):\n        self.stop_event.wait()\n"
    )
    command = [sys.executable, "-m", "sparts", "run", "tasks:T", "--processes", "2"]
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
        service.wait_for_line("There are to be 2 copies")
        service.send(signal.SIGTTOU)
        service.wait_for_line("There is to be 1 copy")
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
        service.wait_for_line("There are to be 3 copies")
        assert "is ready" not in service.output
        (tmp_path / "go").touch()
        service.wait_ready()
        assert len(service.pids) == 3
