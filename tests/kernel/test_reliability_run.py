"""Faults while a service runs: rows of docs/reliability.md, each a test of the same name."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sparts import plugins as defaults
from sparts.dispatch.through_pluggy import PluginHooks
from sparts.errors import TaskFailedError
from sparts.hookspecs import hookimpl
from sparts.kernel.health import Health
from sparts.kernel.runner import ServiceThread
from sparts.states import TaskState
from sparts.supervision import Backoff
from sparts.testing.running import make_service, running, running_task, service_of
from sparts.testing.waiting import Recorder, wait_state
from sparts.vtask import RestartPolicy, VTask

from tests.core import scripted_tasks
from tests.core.scripted_tasks import AT_ONCE, LATE, AsyncScripted, Scripted
from tests.core.scripts import ended, service, stopped

Make = Callable[..., Any]


@pytest.mark.parametrize("method", ["_runloop", "initTaskThread"])
def test_exception_in_a_worker(method: str, tmp_path: Path) -> None:
    body = f"""
class B(Worker):
    DEPS = [Needed]
    def {method}(self):
        raise ValueError("lost the plot")
"""
    process = ended(tmp_path, body, status=1)
    assert "ERROR:S.B:B failed: ValueError: lost the plot; the service ends" in process.lines
    assert "Needed stop" in process.lines
    assert process.lines[-1].startswith("ERROR:S:Instance ended with status 1: B failed")


def test_worker_that_returns(tmp_path: Path) -> None:
    body = """
class A(VTask):
    def _runloop(self):
        say("done")
"""
    with service(tmp_path, body) as process:
        process.read_until_started()
        if "done" not in process.lines:
            process.read_until("done")
        assert process.stop() == 0


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        ("SystemExit(3)", 3, "A asks for the exit of the process"),
        ("SystemExit(0)", 0, "A asks for the exit of the process"),
        ("SystemExit(None)", 0, "A asks for the exit of the process"),
        ("SystemExit('sorry')", 1, "A asks for the exit of the process"),
        ("KeyboardInterrupt", 0, "INFO:S.A:KeyboardInterrupt Received!  Stopping Tasks..."),
        ("MemoryError", 1, "A failed: MemoryError"),
    ],
)
def test_worker_that_is_never_restarted(error: str, status: int, said: str, tmp_path: Path) -> None:
    body = f"""
class A(VTask):
    RESTART = "always"
    def _runloop(self):
        raise {error}
"""
    process = ended(tmp_path, body, status=status)
    # An error is said when it happens, and at the end.
    assert process.output.count(said) == (2 if error == "MemoryError" else 1)


def test_exception_in_a_thread_that_is_no_tasks(tmp_path: Path) -> None:
    body = """
class S(VService):
    def initService(self):
        thread = threading.Thread(target=lambda: 1 / 0, name="stray")
        thread.start()
        thread.join()
        self.shutdown()
"""
    log = tmp_path / "service.log"
    ended(tmp_path, body, "--logfile", str(log), status=0)
    assert "ERROR:S:Thread stray failed" in log.read_text()
    assert "ZeroDivisionError" in log.read_text()


@pytest.fixture(params=[Scripted, AsyncScripted], ids=["thread", "coroutine"])
def scripted(request: pytest.FixtureRequest) -> Make:
    """Makes a task type whose runs are written out; the test is run for both kinds."""
    return partial(scripted_tasks.scripted, request.param)


def test_returned_worker_is_done_and_service_ready(scripted: Make) -> None:
    with running_task(scripted("return")) as task:
        wait_state(task, TaskState.DONE)
        assert task.service.health.status == "ALIVE"
        assert task.service.health.ready


def test_failed_worker_is_restarted(scripted: Make) -> None:
    with running_task(scripted(ValueError(), OSError(), RESTART=AT_ONCE)) as task:
        assert task.next_events(3) == ["began"] * 3
        assert task.state == "ALIVE"
        assert task.service.getCounter("Scripted.n_failures") == 2
        assert task.service.getCounter("Scripted.n_restarts") == 2
    assert task.next_events(1) == ["ended"]


def test_crash_loop_without_a_limit_goes_on(scripted: Make) -> None:
    with running_task(scripted(*[ValueError()] * 100, RESTART=AT_ONCE)) as task:
        task.next_events(101)
        assert task.service.getCounter("Scripted.n_failures") == 100


def test_failure_past_the_limit_ends_the_service(scripted: Make) -> None:
    policy = AT_ONCE._replace(limit=2)
    with running_task(scripted(OSError(), OSError(), RESTART=policy)) as task:
        task.next_events(3)
    cls = scripted(OSError(), OSError(), OSError("no way"), RESTART=policy)
    thread = ServiceThread(make_service(service_of(cls)))
    thread.start()
    with pytest.raises(TaskFailedError, match="Scripted failed: OSError: no way"):
        thread.join()
    assert thread.status == 1
    task = thread.service.requireTask(cls)
    assert (task.supervisor.n_failures(), task.supervisor.n_restarts()) == (3, 2)
    assert task.state == "DEAD"
    assert isinstance(task.failed, OSError)


def waits_of(policy: RestartPolicy, failures: int, ran: float = 0.0) -> list[float]:
    """Return the waits after failures of a worker that runs for ``ran`` seconds each time."""
    backoff, now, waits = Backoff(policy), 1000.0, []
    for _ in range(failures):
        wait = backoff.after(OSError(), now)
        assert wait is not None
        waits.append(wait)
        now += waits[-1] + ran
    return waits


def test_restart_waits_double_up_to_a_limit() -> None:
    waits = waits_of(RestartPolicy("on-failure", jitter=0.0), 2000)
    assert waits[:9] == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6])
    assert set(waits[9:]) == {30.0}


def test_worker_that_ran_well_starts_a_new_row() -> None:
    policy = RestartPolicy("on-failure", jitter=0.0, window=60.0)
    assert waits_of(policy, 3, ran=61.0) == [0.1, 0.1, 0.1]
    assert waits_of(policy, 3, ran=59.0) == pytest.approx([0.1, 0.2, 0.4])


def test_jitter_spreads_the_restart_waits() -> None:
    waits = waits_of(RestartPolicy("on-failure"), 5)
    shares = [wait / (0.1 * 2**number) for number, wait in enumerate(waits)]
    assert all(0.9 <= share <= 1.0 for share in shares)
    assert len(set(shares)) == 5


def test_workers_of_one_task_back_off_by_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    class Outage(VTask):
        RESTART = RestartPolicy("on-failure", first_wait=3600.0, max_wait=1e9, jitter=0.0)
        workers = 8

        def _runloop(self) -> None:
            raise ConnectionError("down")

    class Noting(Health):
        def call_later(
            self, seconds: float, function: Callable[[], object], name: str | None = None
        ) -> None:
            if name == "warning of Outage":
                warned(seconds)
            super().call_later(seconds, function, name)

    monkeypatch.setattr("sparts.kernel.Health", Noting)
    warned = Recorder[float]()
    with running(service_of(Outage)):
        warned.wait(8)
    assert warned.items == [3600.0 + 60.0] * 8, "the warning lasts as long as the outage"


def test_one_worker_of_several_is_restarted_alone(scripted: Make) -> None:
    with running_task(scripted("return", ValueError(), workers=3, RESTART=AT_ONCE)) as task:
        assert sorted(task.next_events(5)) == ["began"] * 4 + ["ended"]
        assert task.service.getCounter("Scripted.n_restarts") == 1
        assert task.state == "ALIVE"
        assert len({thread.name for thread in task.threads}) == len(task.threads)
    assert task.next_events(2) == ["ended"] * 2


def wait_degraded(task: VTask) -> None:
    """Wait until a task waits for its restart, and the service has its warning."""
    readiness = task.service.health._readiness
    with readiness:
        readiness.wait_for(lambda: task.state == "DEGRADED" and task.service.getWarnings())


def test_degraded_task_turns_the_status_to_warning(scripted: Make) -> None:
    with running_task(scripted(ValueError("down"), RESTART=LATE)) as task:
        wait_degraded(task)
        assert task.service.health.status == "WARNING"
        assert task.service.health.ready  # it may serve still: a task says itself when it cannot
        assert list(task.service.getWarnings().values()) == [
            "Scripted failed and is restarted: ValueError: down"
        ]


def test_several_failures_are_one_warning(scripted: Make) -> None:
    errors = [ValueError(f"failure {number}") for number in (1, 2, 3)]
    with running_task(scripted(*errors, RESTART=AT_ONCE)) as task:
        task.next_events(4)
        assert list(task.service.getWarnings().values()) == [
            "Scripted failed and is restarted: ValueError: failure 3"
        ]


def test_restart_warning_ends_with_its_window(scripted: Make) -> None:
    with running_task(scripted(ValueError(), RESTART=AT_ONCE._replace(window=0.05))) as task:
        task.next_events(2)
        health = task.service.health
        with health._readiness:
            health._readiness.wait_for(lambda: not task.service.getWarnings())
        assert health.status == "ALIVE"


def test_dependants_are_told_of_a_restart(scripted: Make) -> None:
    cls = scripted(ValueError(), RESTART=AT_ONCE)
    told = Recorder[VTask]()

    class Dependant(VTask):
        LOOPLESS = True
        DEPS = (cls,)

        def on_dependency_restarted(self, task: VTask) -> None:
            told(task)
            raise GeneratorExit  # which is logged, as all else is

    with running(service_of(Dependant)) as service:
        told.wait(1)
        assert told.items == [service.requireTask(cls)]
        assert service.requireTask(cls).next_events(2) == ["began", "began"]


def test_always_worker_restarts_when_it_returns(scripted: Make) -> None:
    cls = scripted("return", "return", RESTART=AT_ONCE._replace(mode="always"))
    with running_task(cls) as task:
        assert task.next_events(5) == ["began", "ended", "began", "ended", "began"]
        assert task.service.getCounter("Scripted.n_failures") == 0


def test_stop_during_a_restart_wait_is_quick(scripted: Make) -> None:
    with running_task(scripted(ValueError("down"), RESTART=LATE)) as task:
        wait_degraded(task)
    assert task.state == "STOPPED"
    assert task.next_events(1) == ["began"]
    assert task.events.empty()


def test_exception_in_an_asyncio_callback(caplog: pytest.LogCaptureFixture) -> None:
    with running(service_of("AsyncioLoopTask")) as instance:
        task = instance.requireTask("AsyncioLoopTask")

        def broken() -> None:
            raise ValueError("in a callback")

        task.loop.call_soon_threadsafe(broken)
        assert task.call(lambda: 1).result() == 1
        assert instance.getCounter("AsyncioLoopTask.n_callback_errors") == 1
    assert "in a callback" in caplog.text


def test_task_that_becomes_ready_later() -> None:
    class Slow(VTask):
        LOOPLESS = True

        def initTask(self) -> None:  # noqa: N802
            self.set_ready(False)

    with running(service_of(Slow)) as instance:
        assert instance.health.status == "ALIVE"
        assert not instance.health.ready
        assert instance.health.status_details() == "Slow is not ready"
        assert not instance.health.wait_ready(timeout=0)
        instance.requireTask(Slow).set_ready(True)
        assert instance.health.wait_ready()
    assert not instance.health.ready
    assert not instance.health.wait_ready()


def test_hook_that_fails(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    class Plugin:
        @hookimpl
        def sparts_task_change(self, task: VTask) -> None:
            raise SystemExit("a hook must not decide")

    hooks = PluginHooks(plugins={"sparts": defaults})
    hooks.register(Plugin(), "failing plugin")
    monkeypatch.setattr("sparts.plugins.load_hooks", lambda tolerant=False: hooks)
    with running_task(scripted_tasks.scripted(Scripted, ValueError(), RESTART=AT_ONCE)) as task:
        task.next_events(2)
    assert task.service.health.status == "STOPPED"
    assert "failed in sparts_task_change" in caplog.text


def test_counter_that_never_answers(tmp_path: Path) -> None:
    body = """
from sparts.net.asking import Asking
from sparts.counters import CallbackCounter
from sparts.fb303 import FB303
Asking.TIMEOUT = 0.05
class A(VTask):
    @CallbackCounter
    def depth(self):
        time.sleep(3600)
    def _runloop(self):
        asking = FB303(self.service)
        for _ in range(3):
            try:
                asking.getCounters()
            except Exception as error:
                say(error)
        say(asking.getStatus().name, self.service.healthy, self.service.readiness())
        say(sum(thread.name.startswith("asking") for thread in threading.enumerate()), "asks")
        self.stop_event.wait()
"""
    process = stopped(tmp_path, body, until="1 asks", status=0)
    assert process.lines.count("No answer about counters within 0.05 s.") == 3
    assert any(line.startswith("ALIVE True") for line in process.lines)
