"""Pid files: one process holds one, and none but that is ever signalled."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from sparts.builtin.daemon import pidfile

from tests.core.daemons import UNPRIVILEGED, Script, script
from tests.processes import await_end


def test_of_many_starts_at_once_one_succeeds(daemon: Script) -> None:
    starts = [daemon.popen("--daemon") for _ in range(6)]
    ended = []
    for process in starts:
        with process:
            _, err = process.communicate()
        ended.append((process.returncode, err))
    assert sorted(status for status, _ in ended) == [0, 1, 1, 1, 1, 1]
    pid = daemon.pid()
    told = f"service.py: error: S is running already: pid {pid}, {daemon.pid_file}\n"
    assert [err for status, err in ended if status] == [told] * 5
    daemon.stop()


def test_file_of_a_killed_service_is_stale(daemon: Script) -> None:
    pid = daemon.start()
    os.kill(pid, signal.SIGKILL)
    assert daemon.run("--kill").status == 0
    assert not daemon.is_running()
    assert daemon.pid_file.exists()
    assert daemon.start() != pid
    daemon.stop()


def test_shell_can_use_the_file_as_it_is(tmp_path: Path, daemon: Script) -> None:
    pid = daemon.start()
    command = ["sh", "-c", "kill $(cat S.pid)"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    await_end(pid)
    assert not daemon.is_running()


def test_recycled_pid_is_not_signalled(tmp_path: Path) -> None:
    with script(tmp_path) as service, subprocess.Popen(["sleep", "1000"]) as innocent:
        service.pid_file.write_text(f"{innocent.pid}\n\n")
        assert not service.is_running()
        assert service.run("--kill").status == 0
        service.start()
        service.stop()
        assert innocent.poll() is None
        innocent.kill()


def test_file_of_another_program_is_left_alone(daemon: Script) -> None:
    for text in (
        f"{os.getpid()}\n",
        "0\n",
        "9" * 30,
        "garbage \0\xff" * 1000,
        f"{os.getpid()}\nnginx\n",
        "\n",
    ):
        daemon.pid_file.write_text(text)
        assert daemon.run("--kill").status == 0
        done = daemon.run("--daemon")
        assert done.status == 2
        assert "is not one of ours; another program's, perhaps. Remove it" in done.err
        assert daemon.pid_file.read_text() == text


@pytest.mark.parametrize("form", ["{}", "{}\n", " {} \n"])
def test_plain_number_of_a_dead_process_is_stale(tmp_path: Path, form: str) -> None:
    with subprocess.Popen(["true"]) as dead:
        pass
    with script(tmp_path) as service:
        service.pid_file.write_text(form.format(dead.pid))
        assert not service.is_running()
        service.start()
        service.stop()


def test_plain_number_of_this_process_is_stale(tmp_path: Path) -> None:
    path = tmp_path / "S.pid"
    path.write_text(f"{os.getpid()}\n")
    file = pidfile.PidFile(str(path), "S")
    file.acquire()
    assert path.read_text() == f"{os.getpid()}\n\n"
    file.release()


@pytest.mark.parametrize("before", [None, "99\n\n", "99\nsparts S\n"])
def test_pid_file_on_a_full_disk(tmp_path: Path, before: str | None) -> None:
    body = """
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
TASKS = [Worker]
"""
    with script(tmp_path, body) as service:
        if before:
            service.pid_file.write_text(before)
        for flags in ((), ("--daemon",)):
            done = service.run(*flags)
            message = f"--pidfile: cannot write {service.pid_file}: File too large."
            assert (done.status, done.err) == (1, f"service.py: error: {message}\n")
            assert not service.pid_file.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become a user without an entry")
@pytest.mark.parametrize("home", [None, "relative"])
def test_pid_file_must_be_named_without_a_home(public_folder: Path, home: str | None) -> None:
    with script(public_folder) as service:
        unset = ("env", "-u", "HOME", "-u", "XDG_RUNTIME_DIR", "-u", "XDG_STATE_HOME")
        prefix = (*unset, *(() if home is None else (f"HOME={home}",)), *UNPRIVILEGED)
        public_folder.chmod(0o777)
        command = service.command()
        service.command = lambda *argv: [*command[:2], *argv]  # type: ignore[method-assign]
        for flag in ("--daemon", "--status", "--kill"):
            done = service.run(flag, prefix=prefix)
            assert done.status == 2, done
            assert done.err.endswith("and this user has no home directory. Give --pidfile FILE.\n")
        for flags in (("--systemd-install",), ("--install-folder", "~/x", "--dryrun")):
            done = service.run(*flags, prefix=prefix)
            assert done.status == 2, done
            assert "--install-folder: expected a path without ~" in done.err
        assert service.run("--dryrun", "--chdir", "/", prefix=prefix).status == 0
    assert [path.name for path in public_folder.iterdir()] == ["service.py"]


def test_relative_pid_file_begins_at_chdir(tmp_path: Path) -> None:
    folder = tmp_path / "there"
    folder.mkdir()
    with script(tmp_path) as service:
        service.pid_file = Path("own.pid")
        for flags in (("--chdir", "there"), ("--chdir", str(folder))):
            assert service.run("--daemon", *flags).status == 0
            assert (folder / "own.pid").exists()
            assert not service.is_running()
            assert service.run("--status", *flags).status == 0
            assert service.run("--kill", *flags).status == 0
            assert not (folder / "own.pid").exists()


LOCKER = """
import fcntl, sys
file = open(sys.argv[1], "w")
fcntl.lockf(file, fcntl.LOCK_EX)
print("locked", flush=True)
sys.stdin.read()
"""


@pytest.mark.linux
def test_file_that_another_program_has_locked(daemon: Script) -> None:
    command = [sys.executable, "-c", LOCKER, str(daemon.pid_file)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "locked\n"
        for option in ("--kill", "--status"):
            done = daemon.run(option)
            assert done.status == 1
            whose = f"of another service or program (pid {other.pid}), not of S."
            assert f"is the pid file {whose}" in done.err
        assert daemon.run("--daemon").status == 1
        other.communicate()
        assert other.returncode == 0


def test_foreign_pid_file_kills_nobody(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    with script(tmp_path) as service, script(tmp_path / "other") as other:
        other.path.write_text(other.path.read_text().replace("S.init", "S.__name__ = 'T'\nS.init"))
        other.pid_file = service.pid_file
        pid = service.start()
        done = other.run("--kill")
        assert (done.status, done.out) == (1, "")
        whose = f"of another service or program (pid {pid}), not of T."
        assert f"is the pid file {whose}" in done.err
        assert "Another service is running already" in other.run("--daemon").err
        service.stop()


def as_link(path: Path) -> None:
    path.with_name("precious").write_text("")
    path.symlink_to("precious")


def as_second_name(path: Path) -> None:
    path.with_name("precious").write_text("")
    path.hardlink_to(path.with_name("precious"))


def of_another_user(path: Path) -> None:
    path.write_text("")
    os.chown(path, 54321, -1)


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        (as_link, "it is a symbolic link"),
        (as_second_name, "is no plain file"),
        (os.mkfifo, "is no plain file"),
        (Path.mkdir, "Is a directory"),
        (lambda path: path.parent.rmdir(), "its folder does not exist"),
        pytest.param(
            of_another_user,
            "belongs to another user (54321)",
            marks=pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away"),
        ),
    ],
)
def test_what_is_no_pid_file_is_refused(
    tmp_path: Path, prepare: Callable[[Path], object], message: str, daemon: Script
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    daemon.pid_file = folder / "S.pid"
    prepare(daemon.pid_file)
    done = daemon.run("--daemon")
    assert done.status == 2, done
    assert message in done.err
    assert str(daemon.pid_file) in done.err
    if (folder / "precious").exists():
        assert (folder / "precious").read_text() == ""


@pytest.mark.skipif(os.geteuid() != 0, reason="a folder that we may not write to is another's")
def test_folder_that_may_not_be_written(public_folder: Path) -> None:
    with script(public_folder) as service:
        done = service.run("--daemon", prefix=UNPRIVILEGED)
        assert done.status == 2
        assert f"--pidfile: cannot use {service.pid_file}: Permission denied." in done.err
        pid = service.start()
        assert service.run("--status", prefix=UNPRIVILEGED).status == 0  # anybody may ask
        done = service.run("--kill", prefix=UNPRIVILEGED)
        assert (done.status, done.out) == (1, "")
        assert f"--kill: no permission to signal pid {pid}." in done.err
        service.stop()


def test_file_that_was_replaced_meanwhile_is_left_alone(daemon: Script) -> None:
    pid = daemon.start()
    daemon.pid_file.unlink()
    daemon.pid_file.write_text("another's")
    os.kill(pid, signal.SIGTERM)
    await_end(pid)
    assert daemon.pid_file.read_text() == "another's"


def test_start_during_another_end_takes_new_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "S.pid"
    opened = pidfile._open

    def removed_just_now(name: str, flags: int) -> int:
        descriptor = opened(name, flags)
        if not getattr(monkeypatch, "done", False):
            vars(monkeypatch)["done"] = True
            path.unlink()
        return descriptor

    monkeypatch.setattr(pidfile, "_open", removed_just_now)
    file = pidfile.PidFile(str(path), "S")
    file.acquire()
    assert path.read_text() == f"{os.getpid()}\n\n"
    file.release()
    assert not path.exists()


def test_default_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert pidfile.default_path("My/Service") == "/var/run/My_Service.pid"
    monkeypatch.setattr(os, "geteuid", lambda: 54321)
    assert pidfile.default_path("S") == str(tmp_path / "S.pid")
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert pidfile.default_path("S") == str(tmp_path / ".local" / "state" / "S.pid")
    assert (tmp_path / ".local" / "state").is_dir()


def test_default_of_a_class(tmp_path: Path) -> None:
    body = """
class S(VService):
    TASKS = [Worker]
    DEFAULT_PID = "own.pid"
"""
    service = Script(tmp_path, body)
    service.command = lambda *argv: [sys.executable, str(service.path), *argv]  # type: ignore[method-assign]
    assert service.run("--daemon").status == 0
    assert (tmp_path / "own.pid").exists()
    assert service.run("--kill").status == 0
