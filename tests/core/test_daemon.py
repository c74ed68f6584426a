"""A service in the background: it is ready when its start returns, and found and stopped again."""

from __future__ import annotations

import grp
import os
import pwd
import signal
import socket
import subprocess
from pathlib import Path

import pytest

from tests.core.daemons import UNPRIVILEGED, Script, script
from tests.processes import STARTED, await_end

root = pytest.mark.needs_root
NOBODY = pwd.getpwnam("nobody")


def status_of(pid: int, thread: str | int) -> dict[str, list[str]]:
    """Read what the kernel says about a thread of a process: the words of each line."""
    lines = Path(f"/proc/{pid}/task/{thread}/status").read_text().splitlines()
    return {key: value.split() for key, _, value in (line.partition(":") for line in lines)}


RELOADS = """
class ActsWhenReloaded(VService):
    TASKS = [Worker]
    def initService(self):
        self.hooks.register(self)
    @hookimpl(trylast=True)
    def sparts_service_reload(self):
        self.when_reloaded()
"""


def test_ready_daemon_is_found_and_stopped(tmp_path: Path, daemon: Script) -> None:
    done = daemon.run("--daemon")
    assert done.status == 0
    pid = daemon.pid()
    assert f"WARNING:S:Ready, pid {pid}. No --logfile: no log from here on" in done.err
    assert daemon.pid_file.read_text() == f"{pid}\n\n"
    assert daemon.pid_file.stat().st_mode & 0o133 == 0  # nobody else writes to it
    assert os.getsid(pid) not in (pid, os.getsid(0))  # no terminal, nor one to come
    assert {os.readlink(f"/proc/{pid}/fd/{number}") for number in range(3)} == {"/dev/null"}
    assert os.readlink(f"/proc/{pid}/cwd") == str(tmp_path)
    daemon.stop()
    assert not daemon.pid_file.exists()
    nobody = f"S is not running (nobody holds {daemon.pid_file}).\n"
    assert daemon.run("--status") == (1, nobody, "")
    assert daemon.run("--kill") == (0, nobody, "")


def test_daemon_reloads_and_restarts(tmp_path: Path) -> None:
    body = """
class S(ActsWhenReloaded):
    count = 0
    def initService(self):
        S.count += 1
        super().initService()
    def when_reloaded(self):
        if S.count < 3:
            self.restart()
        say("output", S.count)
"""
    log = tmp_path / "log"
    os.mkfifo(log)
    with script(tmp_path, RELOADS + body) as service, open(os.open(log, os.O_RDWR)) as lines:
        pid = service.start("--logfile", str(log))
        for count in (1, 2):
            os.kill(pid, signal.SIGHUP)  # it comes after the start that is on its way
            seen: list[str] = []
            while not seen or STARTED not in seen[-1] or not any("output" in s for s in seen):
                seen.append(lines.readline())
            assert f"output {count}\n" in seen
        assert service.pid() == pid
        service.stop()


BEFORE = "def preprocessOptions(self): "
NO_DISK = "S is not started: initTask of Broken failed: OSError: no disk\n"


@pytest.mark.parametrize(
    ("body", "argv", "status", "message"),
    [
        ("TASKS = [Broken]", (), 1, NO_DISK),
        ("TASKS = [Broken]", ("--logfile", "log"), 1, NO_DISK),
        (BEFORE + "raise UsageError('no such thing')", (), 2, "service.py: error: no such thing\n"),
        (BEFORE + "self.shutdown()", (), 1, "S is not started: it ended before it was ready\n"),
        (BEFORE + "os.kill(os.getpid(), 9)", (), 1, ""),
        (BEFORE + "self.health.worker_left(self, SystemExit(7))", (), 7, "before it was ready\n"),
    ],
)
def test_failed_start_is_shown_on_the_terminal(
    tmp_path: Path, body: str, argv: tuple[str, ...], status: int, message: str
) -> None:
    text = f"""
from sparts.errors import UsageError
class Broken(Worker):
    def initTask(self):
        raise OSError("no disk")
class S(VService):
    {body}
"""
    with script(tmp_path, text) as service:
        done = service.run("--daemon", "--level", "CRITICAL", *argv)
        assert done.status == status, done
        assert done.err.endswith(message)
        assert not service.is_running()
        assert status == 1 or not service.pid_file.exists()


SLOW = """
class Slow(Worker):
    def initTask(self):
        self.set_ready(False)
    def _runloop(self):
        with open("gate") as gate:
            gate.read()
        self.set_ready(True)
        super()._runloop()
    def stop(self):
        os.close(os.open("gate", os.O_RDWR))
        super().stop()
"""


def read_until_started(process: subprocess.Popen[str]) -> None:
    assert process.stderr is not None
    while STARTED not in (line := process.stderr.readline()):
        assert line


def test_start_returns_exactly_when_ready(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "gate")
    with script(tmp_path, SLOW) as service, service.started("--daemon") as process:
        read_until_started(process)
        assert service.pid() > 0
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.3)
        (tmp_path / "gate").write_text("open")
        assert process.wait() == 0
        service.stop()


def test_interrupt_of_start_that_waits_stops_service(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "gate")
    with script(tmp_path, SLOW) as service, service.started("--daemon") as process:
        read_until_started(process)
        process.send_signal(signal.SIGINT)
        assert "it ended before it was ready" in process.communicate()[1]
        assert process.returncode == 1
        assert not service.is_running()


def test_printed_output_goes_to_the_rotated_log(tmp_path: Path) -> None:
    body = """
class S(ActsWhenReloaded):
    def when_reloaded(self):
        say("printed")
        os.write(2, b"written\\n")
"""
    log = tmp_path / "log"
    with script(tmp_path, RELOADS + body) as service:
        pid = service.start("--logfile", "log")
        log.rename(tmp_path / "log.1")
        os.kill(pid, signal.SIGHUP)
        service.stop()
        assert "printed\nwritten\n" in log.read_text()
        assert "Instance shut down gracefully" in log.read_text()
        assert STARTED in (tmp_path / "log.1").read_text()


def test_kill_that_takes_too_long_says_so(tmp_path: Path) -> None:
    body = """
class Hung(Worker):
    def stop(self):
        threading.Event().wait()
"""
    with script(tmp_path, body) as service:
        pid = service.start()
        message = f"S still runs 0.2 s after SIGTERM: pid {pid}.\n"
        assert service.run("--kill", "--kill-timeout", "200ms") == (1, message, "")
        assert service.pid() == pid
        assert service.run("--kill").out == f"S has stopped: pid {pid}.\n"  # a second SIGTERM
        assert not service.pid_file.exists()


def test_crash_of_a_task_removes_the_pid_file(tmp_path: Path) -> None:
    body = """
class Crashing(VTask):
    def _runloop(self):
        with open("gate") as gate:
            gate.read()
        raise OSError("no disk")
"""
    os.mkfifo(tmp_path / "gate")
    with script(tmp_path, body) as service:
        pid = service.start()
        (tmp_path / "gate").write_text("crash")
        await_end(pid)
        assert not service.pid_file.exists()


@root
def test_user_and_groups_drop_in_every_thread(public_folder: Path) -> None:
    body = """
import asyncio
from sparts.tasks.asyncio_server import AsyncioServerTask
class Listens(AsyncioServerTask):
    OPT_PREFIX = "l"
    make_protocol = asyncio.Protocol
class U(Listens):
    OPT_PREFIX = "u"
class S(ActsWhenReloaded):
    TASKS = [Listens, U, Worker]
    def when_reloaded(self):
        say(os.environ["HOME"], os.environ["USER"])
        self.restart()
"""
    folder = public_folder / "log"
    folder.mkdir()
    os.chown(folder, NOBODY.pw_uid, NOBODY.pw_gid)
    sock, log = folder / "u.sock", folder / "log"
    argv = ["--user", "nobody", "--umask", "027", "--chdir", str(folder), "--logfile", "log"]
    argv += ["--l-sock", str(public_folder / "l.sock"), "--u-sock", str(sock)]
    with script(public_folder, RELOADS + body) as service:
        pid = service.start(*argv)
        threads = os.listdir(f"/proc/{pid}/task")
        assert len(threads) > 3
        uid, gid = str(NOBODY.pw_uid), str(NOBODY.pw_gid)
        expected = {"Uid": [uid] * 4, "Gid": [gid] * 4, "Groups": [gid], "Umask": ["0027"]}
        expected["CapEff"] = ["0" * 16]
        for told in [status_of(pid, thread) for thread in threads]:
            assert told | expected == told
        assert os.readlink(f"/proc/{pid}/cwd") == str(folder)
        assert sock.stat().st_uid == log.stat().st_uid == NOBODY.pw_uid
        assert log.stat().st_mode & 0o777 == 0o640
        assert (public_folder / "l.sock").exists()  # where nobody but root may make it
        log.rename(folder / "log.1")
        os.kill(pid, signal.SIGHUP)
        service.stop()
        assert f"{NOBODY.pw_dir} nobody\n" in log.read_text()
        assert service.pid_file.read_text() == ""  # in root's folder it may not be removed
        assert not sock.exists()
        assert service.start(*argv) > 0
        service.stop()


@root
@pytest.mark.parametrize(
    ("argv", "uid", "gid"),
    [
        (("--group", "nogroup"), 0, grp.getgrnam("nogroup").gr_gid),
        (("--user", "nobody", "--group", "0"), NOBODY.pw_uid, 0),
        (("--user", "54321", "--group", "12345"), 54321, 12345),
        (("--user", "root"), 0, 0),
    ],
)
def test_users_and_groups_by_name_or_number(
    argv: tuple[str, ...], uid: int, gid: int, daemon: Script
) -> None:
    pid = daemon.start(*argv)
    told = status_of(pid, pid)
    assert (told["Uid"][0], told["Gid"][0]) == (str(uid), str(gid))
    assert str(gid) in told["Groups"]
    daemon.stop()


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (("--user", "no-such-user"), "--user: no user is named 'no-such-user'."),
        (("--user", "54321"), "--user: 54321 has no entry as a user: give --group too."),
        (("--group", "no-such-group"), "--group: no group is named 'no-such-group'."),
        (("--chdir", "missing"), "--chdir: missing: No such file or directory."),
        (("--umask", "9"), "--umask: expected an octal file mask such as 027, got '9'"),
    ],
)
def test_wrong_user_group_folder_or_mask(
    argv: tuple[str, ...], message: str, daemon: Script
) -> None:
    for more in ((), ("--daemon",)):
        done = daemon.run(*argv, *more)
        assert done.status == 2, done
        assert message in done.err


@root
def test_only_root_may_become_another_user(public_folder: Path) -> None:
    done = Script(public_folder).run("--user", "nobody", "--dryrun", prefix=UNPRIVILEGED)
    assert done.status == 2, done
    assert done.err.startswith("service.py: error: --user: only root may become another.")


def test_foreground_service_writes_a_named_pid_file(daemon: Script) -> None:
    with daemon.started() as process:
        read_until_started(process)
        assert daemon.pid() == process.pid
        process.terminate()
        process.communicate()
    assert not daemon.pid_file.exists()


def test_inherited_socket_is_served_by_a_daemon(tmp_path: Path) -> None:
    body = """
os.environ["LISTEN_PID"] = str(os.getpid())
from sparts.tasks.tornado import TornadoHTTPTask
TASKS = [TornadoHTTPTask]
"""
    with script(tmp_path, body) as service, socket.create_server(("127.0.0.1", 0)) as listener:
        port, number = listener.getsockname()[1], listener.fileno()
        words = service.command("--daemon", "--logfile", "log")
        subprocess.run(
            ["bash", "-c", f'exec "$@" 3<&{number}', "-", *words],
            cwd=tmp_path,
            env={**os.environ, "LISTEN_FDS": "1", "LISTEN_FDNAMES": "http"},
            pass_fds=[number],
            check=True,
        )
        assert f"Server Started on 127.0.0.1:{port}\n" in (tmp_path / "log").read_text()
        service.stop()
