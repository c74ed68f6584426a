"""Faults of a service that starts again when its source files change."""

from __future__ import annotations

import signal
import socket
from pathlib import Path

import pytest

from tests.dev.reloads import CODE, WAYS, Reloaded, ask
from tests.processes import await_end

LOCAL = ("--line-host", "127.0.0.1", "--line-port", "0")
MISTAKES = {
    "x = = 1": "SyntaxError: invalid syntax",
    "import nothing_of_that_name": "No module named 'nothing_of_that_name'",
    "VERSIONS = 1": "cannot import name 'VERSION'",
    "raise SystemExit(7)": "Ended with status 7",
}
HAS_CHILD = CODE.replace(
    "    TASKS",
    """    child = subprocess.Popen([sys.executable, "-c", '''if True:
        import os, signal, time
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        os.write(1, f"child {os.getpid()}{os.linesep}".encode())  # in one piece
        time.sleep(1000)
    '''])
    TASKS""",
)


@pytest.mark.parametrize("mistake", MISTAKES)
def test_reload_of_broken_file_waits_for_changes(tmp_path: Path, mistake: str) -> None:
    with Reloaded(tmp_path, *LOCAL) as service:
        port = service.started()
        service.write(mistake)
        service.wait_for_line("Waiting for a change")
        assert MISTAKES[mistake] in service.output
        with socket.create_connection(("127.0.0.1", port), timeout=60) as waits:
            version = service.write()
            assert waits.makefile().readline() == f"{version}\n"
        assert service.stop() == 0, service.output


def test_reload_kills_what_the_service_left_behind(tmp_path: Path) -> None:
    with Reloaded(tmp_path, *LOCAL, words=WAYS["run"], code=HAS_CHILD) as service:
        service.started()
        child = int(service.wait_for_line(r"^child (\d+)")[1])
        service.write()
        service.started(2)
        await_end(child)
        child = int(service.wait_for_line(r"^child (\d+)", 2)[1])
        assert service.stop() == 0, service.output
        await_end(child)


def test_killed_parent_of_a_reload_ends_the_service(tmp_path: Path) -> None:
    with Reloaded(tmp_path, *LOCAL) as service:
        port = service.started()
        (child,) = Path(f"/proc/{service.pid}/task/{service.pid}/children").read_text().split()
        assert ask(port) == "version 1"
        service.send(signal.SIGKILL)
        await_end(int(child))
        with pytest.raises(ConnectionRefusedError):
            ask(port)


def test_exit_handler_of_a_reload_that_never_ends(tmp_path: Path) -> None:
    code = f"import atexit, time\natexit.register(time.sleep, 60)\n{CODE}"
    with Reloaded(tmp_path, *LOCAL, "--stop-timeout", "200ms", code=code) as service:
        service.started()
        assert service.stop() == 70, service.output
        assert service.output.count("Not ended within 1 s after") == 2  # what is left, for both


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGHUP"])
def test_signal_at_the_very_end_of_a_reload(tmp_path: Path, name: str) -> None:
    code = f"""
import os, signal, sys
class Last:
    def __del__(self, kill=os.kill, write=os.write, pid=os.getpid(), number=signal.{name}):
        kill(pid, number)
        write(1, b"killed\\n")
sys.last = Last()
{CODE}"""
    with Reloaded(tmp_path, *LOCAL, code=code) as service:
        service.started()
        assert service.stop() == 0, service.output
        assert service.output.count("killed") == 2  # the service and its parent


BEGINS = """
import os, time
if "SPARTS_RELOADED_BY" in os.environ:
    print("begins", flush=True)
    while not os.path.exists("go"):
        time.sleep(0.02)
"""


def test_sighup_before_the_service_has_a_handler(tmp_path: Path) -> None:
    with Reloaded(tmp_path, *LOCAL, code=BEGINS + CODE) as service:
        service.wait_for_line("begins")
        service.send(signal.SIGHUP)
        service.wait_for_line("begins", 2)
        (tmp_path / "go").touch()
        service.started()
        assert service.stop() == 0, service.output


FULL = """
import fcntl, os
if "FULL" not in os.environ:  # in the parent alone
    os.environ["FULL"] = "yes"
    reader, full = os.pipe()
    os.write(full, b"x" * fcntl.fcntl(full, fcntl.F_SETPIPE_SZ, 4096))
    os.dup2(full, 2)
else:
    os.write(1, b"begins\\n")
    from version import VERSION
"""


def test_reload_whose_output_nobody_reads(tmp_path: Path) -> None:
    with Reloaded(tmp_path, code=FULL + CODE) as service:
        service.wait_for_line("begins")
        service.write("raise SystemExit(7)")
        service.wait_for_line("begins", 2)
        assert service.stop() in (0, 7), service.output  # 7: before the parent saw the child's end
