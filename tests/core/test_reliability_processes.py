"""What happens when one of several copies of a service, or their parent, goes wrong."""

from __future__ import annotations

import os
import re
import signal
import socket
import time
from pathlib import Path

import pytest

from tests.core.copies import Copies, ready


def test_old_copies_stay_when_new_one_fails(tmp_path: Path) -> None:
    with ready(tmp_path, "TASKS = [Web, Broken]") as service:
        before = service.pids
        (tmp_path / "broken").touch()
        service.send(signal.SIGHUP)
        service.wait_for_line(r"No more copies are replaced, the old ones stay: Copy 1 .*ended: 1")
        assert service.pids == before
        (tmp_path / "broken").unlink()
        service.send(signal.SIGHUP)
        service.wait_replaced()
        assert service.stop() == 0, service.output


HANGS = """
class Hangs(Worker):
    def initTask(self):
        if os.path.exists("broken"):
            time.sleep(60)
TASKS = [Web, Hangs]
"""


def test_old_copies_stay_when_new_one_hangs(tmp_path: Path) -> None:
    argv = ("--processes", "2", "--start-timeout", "300ms")
    with ready(tmp_path, HANGS, *argv) as service:
        before = service.pids
        (tmp_path / "broken").touch()
        service.send(signal.SIGHUP)
        service.wait_for_line(r"No more copies are replaced, the old ones stay")
        assert service.pids == before


FAILS_LATER = """
class Fails(Worker):
    def initTask(self):
        if os.path.exists("broken"):
            self.logger.info("It will fail")
            while not os.path.exists("go"):
                time.sleep(0.02)
            raise RuntimeError("broken")
TASKS = [Web, Fails]
"""


def test_newer_sighup_counts_when_new_copy_fails(tmp_path: Path) -> None:
    with ready(tmp_path, FAILS_LATER) as service:
        (tmp_path / "broken").touch()
        service.send(signal.SIGHUP)
        service.wait_for_line("It will fail")
        (tmp_path / "broken").unlink()
        service.send(signal.SIGHUP)
        service.wait_for_line("Replacing the copies", 2)
        (tmp_path / "go").touch()
        service.wait_replaced()
        assert "No more copies are replaced" not in service.output
        assert service.stop() == 0, service.output


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_signal_at_the_very_end_of_the_parent(tmp_path: Path, name: str) -> None:
    body = f"""
import signal
class Last:
    def __del__(self, kill=os.kill, write=os.write, pid=os.getpid, number=signal.{name}):
        kill(pid(), number)
        write(1, b"killed\\n")
sys.last = Last()
TASKS = [Web]
"""
    with ready(tmp_path, body, "--processes", "1") as service:
        assert service.stop() == 0, service.output
        assert "killed" in service.lines


STARTS_LATE = """
while os.path.exists("started") and not os.path.exists("go"):
    print("waits", flush=True)
    time.sleep(0.02)
class Marks(Worker):
    def initTask(self):
        open("started", "w").close()
TASKS = [Web, Marks]
"""


def test_stacks_end_no_copy_that_starts(tmp_path: Path) -> None:
    with Copies(tmp_path, STARTS_LATE) as service:
        service.wait_for_line("waits")
        service.send(signal.SIGUSR1)
        service.wait_for_line("Stacks of all threads")
        (tmp_path / "go").touch()
        service.wait_ready()


def test_copy_that_is_killed_is_replaced(tmp_path: Path) -> None:
    with ready(tmp_path) as service:
        os.kill(service.ready_pid(2), signal.SIGKILL)
        service.wait_for_line(r"Copy 2 \(pid \d+\) was ended by SIGKILL")
        service.ready_pid(2, 2)
        assert len(service.pids) == 2


def test_single_task_moves_when_its_copy_dies(tmp_path: Path) -> None:
    with ready(tmp_path) as service:
        assert int(service.wait_for_line(r"once in (\d+)")[1]) == service.ready_pid(1)
        os.kill(service.ready_pid(1), signal.SIGKILL)
        assert int(service.wait_for_line(r"once in (\d+)", 2)[1]) == service.ready_pid(2)
        service.ready_pid(1, 2)
        assert service.stop() == 0, service.output
        assert len(re.findall("once in", service.output)) == 2


CRASHES = """
class Crashes(VTask):
    def _runloop(self):
        self.stop_event.wait(0.2)
        os._exit(3)
"""


def test_crash_loop_backs_off(tmp_path: Path) -> None:
    with Copies(tmp_path, CRASHES, "--processes", "1") as service:
        service.wait_for_line(r"Copy 1 \(pid \d+\) ended: 3")
        service.wait_for_line(r"failed 2 times in a row: it is started again in 0.5 s")
        service.wait_for_line(r"failed 3 times in a row: it is started again in 1 s")
        assert service.stop() == 0, service.output


def test_copies_end_when_parent_is_killed(tmp_path: Path) -> None:
    with ready(tmp_path) as service:
        pids = service.pids
        service.send(signal.SIGKILL)
        service.wait_gone(*pids)


@pytest.mark.parametrize("argv", [("--web-port", "-1"), ("--nothing",)])
def test_wrong_option_is_said_once(argv: tuple[str, ...], tmp_path: Path) -> None:
    with Copies(tmp_path, "TASKS = [Web]", "--processes", "3", *argv) as it:
        assert it.wait() == 2
        assert len(re.findall("error: ", it.output)) == 1, it.output


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ("def initTask(self):\n        raise UsageError('not like this')", 2),
        ("def initTask(self):\n        raise ValueError('not like this')", 1),
        ("def initTask(self):\n        print('not like this', flush=True)\n        os._exit(5)", 5),
    ],
)
def test_start_that_fails_is_said_once(body: str, status: int, tmp_path: Path) -> None:
    text = f"class Bad(VTask):\n    {body}\nTASKS = [Bad]"
    with Copies(tmp_path, text, "--processes", "3") as service:
        assert service.wait() == status, service.output
        assert len(re.findall("^(ERROR:.*)?not like this", service.output, re.M)) == 1


STAYS = """
class Stays(VTask):
    def _runloop(self):
        time.sleep(60)
"""


def test_hung_copies_end_within_one_deadline(tmp_path: Path) -> None:
    with ready(tmp_path, STAYS, "--processes", "2", "--stop-timeout", "500ms") as service:
        pids = service.pids
        assert service.stop() == 70, service.output
        service.wait_gone(*pids)


def test_second_signal_ends_all_copies_at_once(tmp_path: Path) -> None:
    with ready(tmp_path, STAYS) as service:
        service.send(signal.SIGTERM)
        service.wait_for_line("SIGTERM Received!  Stopping Tasks", 2)
        time.sleep(0.06)  # else it counts as the same
        assert service.stop() == 70, service.output


def test_stopped_copy_is_killed_and_replaced(tmp_path: Path) -> None:
    argv = ("--processes", "2", "--processes-watchdog", "1s")
    with ready(tmp_path, "TASKS = [Idle]", *argv) as service:
        os.kill(service.ready_pid(1), signal.SIGSTOP)
        service.wait_for_line(r"Copy 1 .* has not shown for 1 s that it works: it is killed")
        service.ready_pid(1, 2)


def test_port_that_is_taken_fails_the_start_once(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        argv = ("--processes", "2", "--web-port", str(taken.getsockname()[1]))
        with Copies(tmp_path, "TASKS = [Web]", *argv) as service:
            assert service.wait() == 1
            assert len(service.lines) == 1, service.output


def test_copy_that_stops_by_itself_is_replaced(tmp_path: Path) -> None:
    body = """
        class Ends(VTask):
            def _runloop(self):
                self.stop_event.wait(0.1)
                self.service.shutdown()
        """
    with Copies(tmp_path, body, "--processes", "1") as service:
        service.ready_pid(1, 2)


TOLD = """
class Told(VTask):
    def initTask(self):
        self.seen = set()
    def _runloop(self):
        while not self.stop_event.wait(0.02):
            for text in self.service.getWarnings().values():
                if text not in self.seen:
                    self.seen.add(text)
                    os.write(1, f"warned: {text}\\n".encode())
"""
LOOPS_IN_ONE = f"""{TOLD}
class Sometimes(VTask):
    PROCESSES = "first"
    def _runloop(self):
        time.sleep(0.05)
        os._exit(3)
TASKS = [Told, Sometimes]
"""


def test_copies_warn_of_a_crash_loop(tmp_path: Path) -> None:
    with Copies(tmp_path, LOOPS_IN_ONE) as service:
        service.wait_for_line(r"^warned: Copy \d has failed 2 times in a row")


def test_copies_warn_of_a_replacement_that_failed(tmp_path: Path) -> None:
    body = f"{TOLD}TASKS = [Web, Broken, Told]"
    with ready(tmp_path, body) as service:
        (tmp_path / "broken").touch()
        service.send(signal.SIGHUP)
        service.wait_for_line("^warned: Not all copies were replaced: Copy 1")


FULL_LOG = """
import fcntl
if "FULL" not in os.environ:  # in the parent alone
    os.environ["FULL"] = "yes"
    reader, full = os.pipe()
    os.write(full, b"x" * fcntl.fcntl(full, fcntl.F_SETPIPE_SZ, 4096))
    os.dup2(full, 2)
"""
SAYS = """
class Says(VTask):
    def _runloop(self):
        self.service.wait_ready()
        os.write(1, b"begins %d\\n" % os.getpid())
        self.stop_event.wait()
        os.write(1, b"ends\\n")
"""


def test_log_of_copies_that_nobody_reads(tmp_path: Path) -> None:
    with Copies(tmp_path, FULL_LOG + SAYS, "--processes", "2", "--level", "INFO") as service:
        os.kill(int(service.wait_for_line(r"begins (\d+)", 2)[1]), signal.SIGKILL)
        service.wait_for_line("begins", 3)
        service.send(signal.SIGTERM)
        service.wait_for_line("ends", 2)


SLOW = """
class S(VService):
    TASKS = [Idle]
    def preprocessOptions(self):
        os.write(1, b"begins\\n")
        while not os.path.exists("go"):
            time.sleep(0.02)
"""


def test_preparation_of_copies_that_hangs(tmp_path: Path) -> None:
    with Copies(tmp_path, SLOW, "--processes", "2", "--stop-timeout", "200ms") as service:
        service.wait_for_line("begins")
        assert service.stop() == 70, service.output
        assert "in preprocessOptions" in service.output


def test_stop_during_preparation_starts_no_copy(tmp_path: Path) -> None:
    with Copies(tmp_path, SLOW, "--processes", "2") as service:
        service.wait_for_line("begins")
        service.send(signal.SIGTERM)
        service.send(signal.SIGTERM)  # the same
        (tmp_path / "go").touch()
        assert service.wait() == 0, service.output
        assert len(service.lines) == 1, service.output


def test_exit_of_the_parent_has_what_is_left(tmp_path: Path) -> None:
    body = "import atexit\natexit.register(time.sleep, 60)\nTASKS = [Idle]"
    with Copies(tmp_path, body, "--processes", "1", "--stop-timeout", "2s") as service:
        service.wait_for_line("Copies ready: 1 of 1")
        assert service.stop() == 70, service.output
        assert "Not ended within 1 s after the service" in service.output


def test_copies_stopped_with_their_parent_live_on(tmp_path: Path) -> None:
    body = """
        class Ticks(VTask):
            def _runloop(self):
                while not self.stop_event.wait(0.2):
                    os.write(1, b"tick\\n")
        """
    argv = ("--processes", "1", "--processes-watchdog", "3s")  # a busy machine may take one
    with Copies(tmp_path, body, *argv) as service:
        pids = [service.pid, service.ready_pid(1)]
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        time.sleep(4.5)  # more than it may be silent
        ticks = service.output.count("tick")
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
        service.wait_for_line("tick", ticks + 8)
        assert service.stop() == 0, service.output
        assert "killed" not in service.output
