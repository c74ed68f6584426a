"""Faults while a service stops: rows of docs/reliability.md, each a test of the same name."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from sparts.errors import StopTimeoutError, TaskFailedError
from sparts.kernel import runner
from sparts.kernel.health import Health
from sparts.kernel.runner import ServiceThread
from sparts.states import ServiceStatus
from sparts.testing.running import make_service, running, service_of
from sparts.vservice import VService
from sparts.vtask import VTask

from tests.core.scripts import PLAIN, ended, hung, service, stopped

HANGS = """
class Hangs(VTask):
    def _runloop(self):
        threading.Event().wait()
"""


def test_dependants_end_before_what_they_need(tmp_path: Path) -> None:
    body = """
class B(Idle):
    DEPS = [Needed]
    def __len__(self):
        return 0
    def __eq__(self, other):
        return self is other
class C(Idle):
    pass
class D(Idle):
    DEPS = [B]
TASKS = [C, D]
"""
    process = stopped(tmp_path, body, number=signal.SIGTERM, status=0)
    starts = [line.split()[0] for line in process.lines if line.endswith("start")]
    assert starts == ["C", "Needed", "B", "D"]
    ends = [line for line in process.lines if line.endswith(("stop", "joined"))]
    for dependant, need in (("D", "B"), ("B", "Needed")):
        assert ends.index(f"{dependant} joined") < ends.index(f"{need} stop")
    stops = [line.split()[0] for line in ends if line.endswith("stop")]
    assert stops == list(reversed(starts))


@pytest.mark.parametrize("method", ["stop", "join"])
def test_exception_in_stop_or_join(method: str, tmp_path: Path) -> None:
    body = f"""
class B(Idle):
    DEPS = [Needed]
    def {method}(self):
        super().{method}()
        raise ValueError("will not")
"""
    process = stopped(tmp_path, body, status=1)
    assert "ERROR:S.B:B failed while stopping" in process.lines
    assert "ValueError: will not" in process.lines
    text = "ERROR:S:Instance ended with status 1: B failed while stopping: ValueError: will not"
    assert process.lines[-1] == text
    assert process.ending("joined") == ["B joined", "Needed joined"]


@pytest.mark.parametrize("restart", ["never", "always"])
def test_exception_in_a_worker_that_is_being_stopped(restart: str, tmp_path: Path) -> None:
    body = f"""
class A(VTask):
    RESTART = "{restart}"
    def _runloop(self):
        self.stop_event.wait()
        raise ValueError("on the way out")
"""
    process = stopped(tmp_path, body, status=1)
    text = "ERROR:S.A:A failed: ValueError: on the way out; while it was being stopped"
    assert text in process.lines


def test_worker_that_never_returns(tmp_path: Path) -> None:
    process = hung(tmp_path, HANGS)
    assert "CRITICAL:S:Not stopped, although 0.2 s have passed: Hangs" in process.lines
    assert "Thread S.Hangs:" in process.lines
    assert "threading.Event().wait()" in process.output


def test_only_what_has_not_ended_is_named(tmp_path: Path) -> None:
    body = f"""
class Ends(Worker):
    def stop(self):
        super().stop()
        self.threads[0].join()
{HANGS.replace("TASKS = [Hangs]", "TASKS = [Ends, Hangs]")}"""
    process = hung(tmp_path, body)
    assert "CRITICAL:S:Not stopped, although 0.2 s have passed: Hangs" in process.lines


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_second_signal_ends_a_hung_stop_at_once(number: signal.Signals, tmp_path: Path) -> None:
    with service(tmp_path, HANGS, "--stop-timeout", "1h") as process:
        process.read_until_started()
        process.send(number)
        process.read_until("(SIGTERM|KeyboardInterrupt) Received!")
        assert process.stop_again(number) == 70
    assert f"CRITICAL:S:Not stopped, although a second {number.name} came: Hangs" in process.lines


def test_task_that_overruns_its_own_stop_timeout(tmp_path: Path) -> None:
    body = """
class Slow(VTask):
    STOP_TIMEOUT = 0.2
    def _runloop(self):
        threading.Event().wait()
"""
    process = stopped(tmp_path, body, "--stop-timeout", "1h", status=70)
    text = "CRITICAL:S:Not stopped, although STOP_TIMEOUT of Slow, 0.2 s, has passed: Slow"
    assert text in process.lines


def test_stop_method_that_never_returns(tmp_path: Path) -> None:
    body = """
class B(Idle):
    DEPS = [Needed]
    def stop(self):
        threading.Event().wait()
"""
    process = hung(tmp_path, body)
    assert "CRITICAL:S:Not stopped, although 0.2 s have passed: Needed, B" in process.lines
    assert "Thread S lifecycle:" in process.lines


def test_endless_coroutine_is_named_with_its_stack(tmp_path: Path) -> None:
    body = """
import asyncio
from sparts.loops import LoopBoundTask
from sparts.tasks.asyncio import AsyncioLoopTask
class Stubborn(LoopBoundTask):
    LOOP = AsyncioLoopTask
    async def stop_in_loop(self):
        await asyncio.get_running_loop().create_future()
"""
    process = hung(tmp_path, body)
    assert "Stubborn" in process.read_line("CRITICAL:S:Not stopped, although 0.2 s have passed")
    assert "stop_in_loop" in process.output


def test_thread_that_holds_the_interpreter_lock(tmp_path: Path) -> None:
    body = """
import ctypes, sparts.kernel.lifecycle
sparts.kernel.lifecycle.GUARD_GRACE = 0.1
class Selfish(VTask):
    def _runloop(self):
        self.stop_event.wait()
        ctypes.PyDLL(None).sleep(3600)  # PyDLL keeps the lock while it calls
"""
    process = hung(tmp_path, body)
    assert "Timeout (0:00:00.30000" in process.output


def test_process_that_is_stopped_past_its_deadline(tmp_path: Path) -> None:
    with service(tmp_path, HANGS, "--stop-timeout", "200ms") as process:
        process.read_until_started()
        process.process.send_signal(signal.SIGTERM)
        process.process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, process.process.pid, os.WSTOPPED)
        threading.Event().wait(3.0)  # past the deadline, and past the guard's time
        assert process.stop(signal.SIGCONT) == 70


NEVER_ENDS = {
    "thread": """
class S(VService):
    def initService(self):
        wait = threading.Event().wait
        threading.Thread(target=wait, name="stray", daemon=False).start()
""",
    "child": """
import multiprocessing
def child(parent):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while os.getppid() == parent:
        time.sleep(0.05)
class S(VService):
    def initService(self):
        context = multiprocessing.get_context("fork")
        context.Process(target=child, args=(os.getpid(),)).start()
""",
}
HANDLER = f"""
import atexit, ctypes, sparts.this_process
sparts.this_process.GUARD_GRACE = sparts.this_process.LEAST_EXIT_TIME = 0.1
@atexit.register
def hang():
    {{}}
{PLAIN}
"""
NEVER_ENDS["handler"] = HANDLER.format("threading.Event().wait()")
# PyDLL keeps the interpreter's lock while it calls.
NEVER_ENDS["handler with the lock"] = HANDLER.format("ctypes.PyDLL(None).pause()")


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("thread", "Not ended within 1 s after the service: stray\n(.*\n)*Thread stray:"),
        ("child", "in _exit_function"),
        ("handler", "in hang"),
        ("handler with the lock", "in hang"),
    ],
)
def test_something_that_never_ends_after_the_service(what: str, said: str, tmp_path: Path) -> None:
    assert re.search(said, hung(tmp_path, NEVER_ENDS[what]).output)


def test_exit_has_what_is_left_of_stop_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    limits: list[float] = []
    monkeypatch.setattr(runner, "guard_exit", lambda seconds, _: limits.append(seconds))
    monkeypatch.setattr(runner, "monotonic", lambda: 1000.0)
    for deadline in (None, 1007.0, 1000.5, 900.0):
        instance = make_service(VService, "--stop-timeout", "25s")
        instance.health.stop_deadline = deadline
        with pytest.raises(SystemExit):
            runner.end_process(runner.ServiceThread(instance))
    assert limits == [25.0, 7.0, 0.5, -100.0]


def test_process_that_goes_on_after_its_service(tmp_path: Path) -> None:
    body = """
import sparts.this_process
sparts.this_process.GUARD_GRACE = sparts.this_process.LEAST_EXIT_TIME = 0.1
class S(VService):
    pass
try:
    S.initFromCLI()
except SystemExit:
    time.sleep(1.5)
    say("goes on")
    sys.exit(5)
"""
    process = stopped(tmp_path, body, "--stop-timeout", "100ms", status=5)
    assert "goes on" in process.lines


def test_late_sigterm_does_not_change_the_status(tmp_path: Path) -> None:
    body = """
import atexit
class S(VService):
    pass
@atexit.register
def late():
    os.kill(os.getpid(), signal.SIGTERM)
    say("not reached")
"""
    process = stopped(tmp_path, body, status=0)
    assert "not reached" not in process.lines


def test_drain_keeps_serving_though_not_ready(tmp_path: Path) -> None:
    instance = make_service(VService, "--drain-time", "100ms")
    stopped: list[bool] = []
    drained = threading.Event()
    original = instance.health.record_status

    def record(phase: object = None) -> None:
        original(phase)  # type: ignore[arg-type]
        if phase == "STOPPING":
            stopped.append(instance.health.ready)
            drained.set()

    instance.health.record_status = record  # type: ignore[method-assign]
    thread = instance.startBG()
    instance.shutdown()
    drained.wait()
    assert stopped == [False]
    assert instance.health.status == "STOPPING"
    thread.join()
    assert instance.health.status == "STOPPED"


def test_second_signal_cuts_a_drain_short(tmp_path: Path) -> None:
    argv = ("--drain-time", "50m", "--stop-timeout", "1h")
    with service(tmp_path, "TASKS = [Idle]", *argv) as process:
        process.read_until_started()
        process.process.send_signal(signal.SIGTERM)
        process.read_until("Draining for 3000 s")
        assert "Idle stop" not in process.lines
        assert process.stop_again(signal.SIGTERM) == 0
    assert "INFO:S:SIGTERM Received!  Not draining any longer" in process.lines
    assert "Idle joined" in process.lines


def test_drain_that_is_longer_than_stop_may_take(tmp_path: Path) -> None:
    process = ended(tmp_path, PLAIN, "--drain-time", "30s", status=2)
    assert "--drain-time (30 s) must be shorter than --stop-timeout (25 s)" in process.output


def test_crash_while_draining(monkeypatch: pytest.MonkeyPatch) -> None:
    drained, crash = threading.Event(), threading.Event()

    class Crashes(VTask):
        def _runloop(self) -> None:
            crash.wait()
            raise ValueError("no use")

    class Service(VService):
        TASKS = [Crashes]

    class Noting(Health):
        def record_status(self, phase: ServiceStatus | None = None) -> None:
            super().record_status(phase)
            if phase == "STOPPING":
                drained.set()

        def tell_statuses(self) -> None:
            deadlines.append(self.stop_deadline)
            super().tell_statuses()

    monkeypatch.setattr("sparts.kernel.Health", Noting)
    deadlines: list[float | None] = []
    thread = make_service(Service, "--drain-time", "50m", "--stop-timeout", "1h").startBG()
    thread.service.shutdown()
    drained.wait()
    crash.set()
    with pytest.raises(TaskFailedError, match="no use"):
        thread.join()
    assert thread.status == 1
    assert len({deadline for deadline in deadlines if deadline is not None}) == 1


@pytest.fixture
def released() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


def test_hung_background_stop_is_raised_in_join(released: threading.Event) -> None:
    class Hangs(VTask):
        def _runloop(self) -> None:
            released.wait()

    thread = make_service(service_of(Hangs), "--stop-timeout", "100ms").startBG()
    instance = thread.service
    instance.shutdown()
    with pytest.raises(StopTimeoutError, match="Not stopped, although 0.1 s have passed: Hangs"):
        thread.join()
    with pytest.raises(StopTimeoutError):
        instance.join()
    assert instance.status == "DEAD"
    assert thread.status == 70
    released.set()
    instance.requireTask(Hangs).threads[0].join()


def test_crash_in_background_is_raised_to_who_joins() -> None:
    crash = threading.Event()

    class Crashes(VTask):
        def _runloop(self) -> None:
            crash.wait()
            raise ValueError("lost")

    thread = make_service(service_of(Crashes)).startBG()
    crash.set()
    with pytest.raises(TaskFailedError, match="Crashes failed: ValueError: lost") as caught:
        thread.join()
    assert isinstance(caught.value.__cause__, ValueError)
    assert thread.service.status == "DEAD"


def test_stop_requests_never_block() -> None:
    with running(VService) as instance:
        for _ in range(100):
            instance.shutdown()
            instance.stop()
    assert instance.health.status == "STOPPED"
    instance.shutdown()


def test_stop_asked_for_before_the_start() -> None:
    instance = make_service(VService)
    instance.shutdown()
    assert instance._instance.inbox._messages.qsize() == 1
    thread = ServiceThread(instance)
    thread.start()
    thread.join()
    assert instance.health.status == "STOPPED"


@pytest.mark.needs_namespace("pid")
def test_service_that_runs_as_pid_1(tmp_path: Path) -> None:
    body = """
class S(VService):
    def initService(self):
        say("pid", os.getpid())
"""
    inner = ["unshare", "--pid", "--fork", "--kill-child", sys.executable]
    if os.geteuid() != 0:
        inner[1:1] = ["--user", "--map-root-user"]
    with service(tmp_path, body, python=inner) as process:
        process.read_until("pid 1$")
        process.read_until_started()
        children = Path(f"/proc/{process.process.pid}/task/{process.process.pid}/children")
        child = children.read_text().split()[0]
        subprocess.run(["kill", "-TERM", child], check=True)
        assert process.finish() == 0
    assert "INFO:S:Instance shut down gracefully" in process.lines


def test_hook_that_hangs(tmp_path: Path) -> None:
    body = """
from sparts import plugins
class Plugin:
    @hookimpl
    def sparts_task_change(self, task, new):
        if new == "STOPPING":
            threading.Event().wait()
class S(Plugged):
    TASKS = [Worker]
"""
    process = hung(tmp_path, body)
    assert "CRITICAL:S:Not stopped, although 0.2 s have passed: Worker" in process.lines
    assert "in sparts_task_change" in process.output


def test_hook_that_fails_around_a_stop(tmp_path: Path) -> None:
    body = """
class Plugin:
    @hookimpl(wrapper=True)
    def sparts_task_stop(self, task):
        yield
        raise ValueError("one more thing")
class S(Plugged):
    TASKS = [Idle]
"""
    process = stopped(tmp_path, body, status=1)
    assert "ERROR:S.Idle:Idle failed while stopping" in process.lines
    assert "Idle joined" in process.lines
