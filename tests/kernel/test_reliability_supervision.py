"""Faults that the supervision itself must survive: rows of docs/reliability.md, each a test."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from sparts.builtin import systemd

from tests.core.scripts import PLAIN, ended, hung, managed, script_of, service, stopped
from tests.processes import clean_environment

BROKEN = """
class Broken(Exception):
    def __str__(self):
        raise RuntimeError
    __repr__ = __str__
class Ends(Idle):
    pass
"""
TEXT = "Broken: <Broken that cannot be shown: RuntimeError>"


def unread(
    folder: Path, body: str, *argv: str, begins: str, filled: bool = True
) -> tuple[int, str]:
    """Stop a service whose standard error is a small pipe that nobody reads.

    Give its status and its last output. ``filled``: the pipe has no room from the start on.
    """
    command = [sys.executable, str(script_of(folder, body)), *argv]
    reader, writer = os.pipe()
    size = fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    if filled:
        os.write(writer, b"x" * size)
    settings: Any = {"stdout": subprocess.PIPE, "stderr": writer, "text": True}
    with subprocess.Popen(command, env=clean_environment(), **settings) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == f"{begins}\n"
            process.send_signal(signal.SIGTERM)
            return process.wait(), process.stdout.read()
        finally:
            process.kill()
            os.close(reader)
            os.close(writer)


# -- errors that cannot be shown -------------------------------------------------------------------


def test_exception_that_cannot_be_shown_is_restarted(tmp_path: Path) -> None:
    body = f"""{BROKEN}
class A(Worker):
    RESTART = "on-failure"
    failures = 0
    def _runloop(self):
        self.failures += 1
        if self.failures == 1:
            raise Broken
        say("again, with", list(self.service.getWarnings().values()))
        super()._runloop()
"""
    stopped(tmp_path, body, until="again, with .*Broken that cannot be shown", status=0)


@pytest.mark.parametrize("step", ["initTask", "start", "stop", "join"])
def test_exception_that_cannot_be_shown_in_a_step(step: str, tmp_path: Path) -> None:
    body = f"""{BROKEN}
class A(Worker):
    DEPS = [Ends]
    def {step}(self):
        super().{step}()
        raise Broken
"""
    with service(tmp_path, body) as process:
        if step in ("stop", "join"):
            process.read_until_started()
            assert process.stop() == 1
        else:
            assert process.finish() == 1
    assert "Ends joined" in process.lines
    assert TEXT in process.output


KINDS = {
    "worker": """
class A(VTask):
    DEPS = [Ends]
    def _runloop(self):
        raise Broken
""",
    "queue": """
from sparts.tasks.queue import QueueTask
class A(QueueTask):
    DEPS = [Ends]
    def start(self):
        self.queue.put(1)
        super().start()
    def execute(self, item, context):
        raise Broken
""",
    "periodic": """
from sparts.tasks.periodic import PeriodicTask
class A(PeriodicTask):
    DEPS = [Ends]
    INTERVAL = 0.01
    def execute(self, context):
        raise Broken
""",
    "asyncio": """
from sparts.tasks.asyncio import AsyncioTask
class A(AsyncioTask):
    @classmethod
    def _dependencies(cls):
        return [*super()._dependencies(), Ends]
    async def run(self):
        raise Broken
""",
}


@pytest.mark.parametrize("kind", KINDS)
def test_exception_that_cannot_be_shown_in_task_type(kind: str, tmp_path: Path) -> None:
    body = f"""{BROKEN}{KINDS[kind]}
TASKS = [A]
"""
    process = ended(tmp_path, body, status=1)
    assert f"ERROR:S.A:A failed: {TEXT}; the service ends" in process.lines
    assert process.lines[-1] == f"ERROR:S:Instance ended with status 1: A failed: {TEXT}"
    assert "Ends joined" in process.lines


def test_task_skips_for_an_unshowable_reason(tmp_path: Path) -> None:
    body = f"""{BROKEN}
class Skip(SkipTask, Broken):
    __str__ = Broken.__str__
class A(Worker):
    healthy = True
    def initTask(self):
        raise Skip
TASKS = [A, Ends]
"""
    stopped(tmp_path, body, until="A left out: <Skip that cannot be shown: RuntimeError>", status=0)


def test_health_whose_error_cannot_be_shown(tmp_path: Path) -> None:
    body = f"""{BROKEN}
class A(Worker):
    @property
    def healthy(self):
        raise Broken
class S(ActsWhenReady):
    TASKS = [A]
    def when_ready(self):
        self.add_check("c", self.check_it, vital=True)
        say(self.liveness())
    def check_it(self):
        raise Broken
"""
    both = "'A': '.*Broken that cannot be shown.*'c': '.*Broken that cannot be"
    stopped(tmp_path, body, until=both, status=0)


def test_reload_whose_error_cannot_be_shown(tmp_path: Path) -> None:
    body = f"""{BROKEN}
class A(Worker):
    def reload(self):
        raise Broken
class B(Worker):
    def reload(self):
        say("B reload")
TASKS = [A, B]
"""
    with service(tmp_path, body) as process:
        process.read_until_started()
        process.process.send_signal(signal.SIGHUP)
        process.read_until("B reload")
        assert process.stop() == 0
    assert "ERROR:S:Reload of A failed: <Broken that cannot be shown: RuntimeError>" in (
        process.lines
    )


def test_log_handler_that_raises(tmp_path: Path) -> None:
    body = """
import logging
class Raises(logging.Handler):
    def emit(self, record):
        if record.levelno >= logging.ERROR:
            raise SystemExit(9)
class Ends(Idle):
    def stop(self):
        super().stop()
        raise ValueError("stop, too")
class A(VTask):
    DEPS = [Ends]
    def _runloop(self):
        raise ValueError("no use")
class S(VService):
    TASKS = [A, Idle]
    def initService(self):
        logging.getLogger().addHandler(Raises())
"""
    process = ended(tmp_path, body, status=1)
    assert "Ends joined" in process.lines
    assert "Idle joined" in process.lines


# -- the supervising thread always acts ------------------------------------------------------------


def test_log_that_nobody_reads(tmp_path: Path) -> None:
    """Standard error is a pipe that is full, from the start on."""
    body = """
class A(Worker):
    def stop(self):
        super().stop()
        say("stop")
class S(ActsWhenReady):
    TASKS = [A]
    def when_ready(self):
        say("ready")
"""
    # Only log lines are lost.
    assert unread(tmp_path, body, "--level", "INFO", begins="ready") == (0, "stop\n")


def test_log_that_nobody_reads_and_workers_that_write(tmp_path: Path) -> None:
    body = """
class Writes(VTask):
    def _runloop(self):
        say("begins")
        while True:
            self.logger.info("x" * 1000)
"""
    argv = ("--stop-timeout", "200ms")
    assert unread(tmp_path, body, *argv, begins="begins", filled=False)[0] == 70


def test_hook_that_hangs_when_a_warning_is_cleared(tmp_path: Path) -> None:
    body = """
from sparts.hookspecs import hookimpl
from sparts.vtask import RestartPolicy
class Plugin:
    @hookimpl
    def sparts_service_change(self, old, new):
        if (old, new) == ("WARNING", "ALIVE"):
            say("hangs")
            threading.Event().wait()
class A(Worker):
    RESTART = RestartPolicy("on-failure", first_wait=0.001, window=0.01)
    failures = 0
    def _runloop(self):
        self.failures += 1
        if self.failures == 1:
            self.service.wait_ready()
            raise ValueError("once")
        super()._runloop()
class S(Plugged):
    TASKS = [A]
"""
    with service(tmp_path, body, "--stop-timeout", "200ms") as process:
        process.read_until("^hangs$")
        process.process.send_signal(signal.SIGUSR1)
        process.read_until("sparts_service_change")
        assert process.stop(signal.SIGTERM) == 70


def test_vital_check_that_hangs(tmp_path: Path) -> None:
    body = """
class S(VService):
    def initService(self):
        self.add_check("hangs", self.hang, vital=True)
    def hang(self):
        say("asked")
        threading.Event().wait()
"""
    process = stopped(tmp_path, body, WATCHDOG_USEC="20000", until="^asked$", status=0)
    assert process.output.count("asked") == 1


@pytest.mark.parametrize("usec", ["-1", "0", "", "text", "9" * 30, "1.5", "٣٠٠٠"])
def test_watchdog_variable_that_makes_no_sense(usec: str, tmp_path: Path) -> None:
    said = "WARNING:S:WATCHDOG_USEC is .* it is ignored"
    stopped(tmp_path, PLAIN, WATCHDOG_USEC=usec, until=said, status=0)


def test_watchdog_that_is_to_be_fed_all_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with managed(tmp_path, PLAIN, WATCHDOG_USEC="1") as (process, manager):
        manager.read_until("WATCHDOG=1")
        assert process.stop(signal.SIGTERM) == 0
    monkeypatch.setenv("WATCHDOG_USEC", "1")
    assert systemd.watchdog_interval() == 0.02


def test_preparation_that_hangs(tmp_path: Path) -> None:
    body = """
class S(VService):
    def preprocessOptions(self):
        say("hangs")
        threading.Event().wait()
"""
    process = hung(tmp_path, body, until="^hangs$")
    assert "Not stopped, although 0.2 s have passed: preprocessOptions" in process.output


def test_restart_whose_new_instance_hangs(tmp_path: Path) -> None:
    body = """
class S(VService):
    made = 0
    def __init__(self, ns):
        super().__init__(ns)
        S.made += 1
        if S.made == 2:
            say("hangs")
            threading.Event().wait()
    def initService(self):
        self.hooks.register(Ready(self))
    def when_ready(self):
        self.restart()
"""
    hung(tmp_path, body, until="^hangs$")


def test_task_hangs_when_its_start_is_given_up(tmp_path: Path) -> None:
    body = """
class A(VTask):
    LOOPLESS = True
    def start(self):
        say("starting")
        threading.Event().wait()
    def _give_up_start(self):
        threading.Event().wait()
"""
    process = hung(tmp_path, body, until="^starting$")
    assert "Not stopped, although 0.2 s have passed: A" in process.output


@pytest.mark.parametrize("release", [True, False])
def test_lock_that_c_code_holds_when_signal_comes(release: bool, tmp_path: Path) -> None:
    """Nothing of Python's can act before C code gives the lock back."""
    body = """
import ctypes
class Selfish(Worker):
    def _runloop(self):
        byte, gate = ctypes.create_string_buffer(1), os.open("gate", os.O_RDWR)
        say("holds the lock")
        ctypes.PyDLL(None).read(gate, byte, 1)  # PyDLL keeps the lock
        say("gave it back")
        super()._runloop()
"""
    os.mkfifo(tmp_path / "gate")
    with service(tmp_path, body, "--stop-timeout", "200ms") as process:
        process.read_until("holds the lock")
        process.send(signal.SIGTERM)
        if release:
            (tmp_path / "gate").write_text("x")
            process.read_until("gave it back")
            assert process.finish() == 0
        else:
            with pytest.raises(AssertionError, match="it still runs"):
                process.wait(0.5)
            assert process.stop(signal.SIGKILL) == -signal.SIGKILL


# -- what the system does not give -----------------------------------------------------------------

QUEUE = """
import faulthandler
from sparts.tasks.queue import QueueTask
class Q(QueueTask):
    DRAIN = False
    def execute(self, item, context):
        say("begun")
        self.stop_event.wait()
    def on_dropped(self, items):
        say("dropped", len(items))
def refuse(*args, **kwargs):
    raise RuntimeError("can't start new thread")
class NoThreads(ActsWhenReady):
    def when_ready(self):
        faulthandler.dump_traceback_later = threading.Thread.start = refuse
class Fills(VTask):
    LOOPLESS = True
    DEPS = [Q]
    def start(self):
        for number in range(21):
            self.service.tasks.Q.queue.put(number)
"""


def test_stop_without_any_further_thread(tmp_path: Path) -> None:
    body = f"""{QUEUE}
class S(NoThreads):
    TASKS = [Fills]
"""
    with service(tmp_path, body) as process:
        process.read_until("^begun$")
        process.read_until_started()
        assert process.stop(signal.SIGTERM) == 0
    assert "dropped 20" in process.lines


def test_hung_stop_without_any_further_thread(tmp_path: Path) -> None:
    body = f"""{QUEUE}
class Hangs(Worker):
    def stop(self):
        threading.Event().wait()
class S(NoThreads):
    TASKS = [Fills, Hangs]
"""
    process = hung(tmp_path, body)
    assert "Hangs" in process.read_line("CRITICAL:S:Not stopped, although 0.2 s have passed")
    assert any(line.startswith("dropped ") for line in process.lines)


def test_hung_exit_without_any_further_thread(tmp_path: Path) -> None:
    body = f"""{QUEUE}
import atexit
atexit.register(threading.Event().wait)
class S(NoThreads):
    TASKS = [Idle]
"""
    with service(tmp_path, body, "--stop-timeout", "200ms") as process:
        process.read_until_started()
        assert process.stop(signal.SIGTERM) == 70
    assert any(line.startswith("Not ended within") for line in process.lines)


def test_stop_of_a_process_without_memory(tmp_path: Path) -> None:
    """What the process has mapped is all that it may have: no stack of a thread fits in."""
    body = f"""{QUEUE}
import resource
class S(ActsWhenReady):
    TASKS = [Fills]
    def when_ready(self):
        pages = int(open("/proc/self/statm").read().split()[0])
        limit = pages * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        try:
            threading.Thread(target=int).start()
        except RuntimeError:
            say("no threads")
"""
    with service(tmp_path, body) as process:
        process.read_until("no threads")
        process.read_until_started()
        assert process.stop(signal.SIGTERM) == 0
    assert "dropped 20" in process.lines or "dropped 21" in process.lines


def test_memory_error_in_the_supervisor(tmp_path: Path) -> None:
    body = """
class S(ActsWhenReady):
    TASKS = [Idle]
    def when_ready(self):
        self._instance.inbox.get = self.get
        self._instance.inbox.put(("woken",))
    def get(self, timeout=None):
        del self._instance.inbox.get
        raise MemoryError
"""
    process = ended(tmp_path, body, status=1)
    assert "Idle joined" in process.lines
    assert "CRITICAL:S:The service itself failed: MemoryError" in process.lines


STUCK = """
import ctypes, faulthandler, sparts.this_process, sparts.kernel.lifecycle
sparts.kernel.lifecycle.GUARD_GRACE = sparts.this_process.STACKS_TIME = 0.1
class Selfish(VTask):
    def _runloop(self):
        say("begins")
        self.stop_event.wait()
        ctypes.PyDLL(None).sleep(3600)
"""


def test_stuck_interpreter_with_unread_stacks(tmp_path: Path) -> None:
    body = f"""{STUCK}
TASKS = [Selfish]
"""
    argv = ("--stop-timeout", "200ms", "--level", "WARNING")
    assert unread(tmp_path, body, *argv, begins="begins")[0] == 70


def test_interpreter_that_is_stuck_without_any_further_thread(tmp_path: Path) -> None:
    body = f"""{STUCK}
def refuse(*args, **kwargs):
    raise RuntimeError("can't start new thread")
class S(ActsWhenReady):
    TASKS = [Selfish]
    def when_ready(self):
        faulthandler.dump_traceback_later = sparts.this_process._started_timer = refuse
"""
    with service(tmp_path, body, "--stop-timeout", "200ms") as process:
        process.read_until_started()
        assert process.stop(signal.SIGTERM) == -signal.SIGALRM
