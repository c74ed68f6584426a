"""Faults while a service runs: rows of docs/reliability.md, each a test of the same name."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from sparts.dispatch.through_pluggy import PluginHooks
from sparts.errors import TaskFailedError
from sparts.hookspecs import hookimpl
from sparts.kernel.health import Health
from sparts.plugins import defaults
from sparts.supervision import Backoff
from sparts.testing.running import make_service, running, running_task, service_of
from sparts.testing.waiting import Recorder
from sparts.vtask import RestartPolicy, VTask

from tests.core.scripts import ended, service, stopped

AT_ONCE = RestartPolicy("on-failure", first_wait=0.0)


def test_exception_in_a_worker(tmp_path: Path) -> None:
    body = """
class A(Idle):
    pass
class B(VTask):
    DEPS = [A]
    def _runloop(self):
        raise ValueError("lost the plot")
"""
    process = ended(tmp_path, body, status=1)
    assert "ERROR:S.B:B failed: ValueError: lost the plot; the service ends" in process.lines
    assert "A stop" in process.lines
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


def test_returned_worker_is_done_and_service_ready() -> None:
    class Brief(VTask):
        def _runloop(self) -> None:
            pass

    with running_task(Brief) as task:
        task.threads[0].join()
        assert task.state == "DONE"
        assert task.service.health.status == "ALIVE"
        assert task.service.health.ready


@pytest.mark.parametrize(("code", "status"), [("3", 3), ("0", 0), ("None", 0), ("'sorry'", 1)])
def test_system_exit_in_a_worker(code: str, status: int, tmp_path: Path) -> None:
    body = f"""
class A(VTask):
    RESTART = "always"
    def _runloop(self):
        raise SystemExit({code})
"""
    process = ended(tmp_path, body, status=status)
    assert "A asks for the exit of the process" in process.output


def test_keyboard_interrupt_in_a_worker(tmp_path: Path) -> None:
    body = """
class A(VTask):
    RESTART = "always"
    def _runloop(self):
        raise KeyboardInterrupt
"""
    process = ended(tmp_path, body, status=0)
    assert "INFO:S.A:KeyboardInterrupt Received!  Stopping Tasks..." in process.lines


def test_memory_error_in_a_worker(tmp_path: Path) -> None:
    body = """
class A(VTask):
    RESTART = "always"
    def _runloop(self):
        raise MemoryError
"""
    process = ended(tmp_path, body, status=1)
    assert process.output.count("A failed: MemoryError") == 2  # when it happened, and at the end


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


class Flaky(VTask):
    """Fails as often as it must, then waits for the stop."""

    RESTART = AT_ONCE
    failures = 1

    def initTask(self) -> None:  # noqa: N802
        self.runs = 0
        self.begin = threading.Event()
        self.settled = threading.Event()

    def _runloop(self) -> None:
        self.begin.wait()
        self.runs += 1
        if self.runs <= self.failures:
            raise ValueError(f"failure {self.runs}")
        self.settled.set()
        self.stop_event.wait()


def test_failed_worker_is_restarted() -> None:
    with running_task(Flaky) as task:
        task.begin.set()
        task.settled.wait()
        assert task.runs == 2
        assert task.state == "ALIVE"
        assert task.service.getCounter("Flaky.n_failures") == 1
        assert task.service.getCounter("Flaky.n_restarts") == 1


def test_crash_loop_without_a_limit_goes_on() -> None:
    class Often(Flaky):
        failures = 100

    with running(service_of(Often)) as instance:
        instance.requireTask(Often).begin.set()
        instance.requireTask(Often).settled.wait()
        assert instance.getCounter("Often.n_failures") == 100


def test_failure_past_the_limit_ends_the_service() -> None:
    class Two(Flaky):
        RESTART = RestartPolicy("on-failure", first_wait=0.0, limit=2)
        failures = 2

    class Three(Two):
        failures = 3

    with running(service_of(Two)) as instance:
        instance.requireTask(Two).begin.set()
        instance.requireTask(Two).settled.wait()
    thread = make_service(service_of(Three)).startBG()
    thread.service.requireTask(Three).begin.set()
    with pytest.raises(TaskFailedError, match="Three failed: ValueError: failure 3"):
        thread.join()
    assert thread.status == 1


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

    monkeypatch.setattr("sparts.kernel.instance.Health", Noting)
    warned = Recorder[float]()
    with running(service_of(Outage)):
        warned.wait(8)
    assert warned.items == [3600.0 + 60.0] * 8, "the warning lasts as long as the outage"


def test_one_worker_of_several_is_restarted_alone() -> None:
    class Several(VTask):
        RESTART = AT_ONCE
        workers = 3

        def initTask(self) -> None:  # noqa: N802
            self.begun: list[str] = []
            self.all_there = threading.Barrier(4)
            self.fail_once = threading.Semaphore(1)
            self.again = threading.Event()

        def _runloop(self) -> None:
            name = threading.current_thread().name
            self.begun.append(name)
            if len(self.begun) > 3:
                self.again.set()
                self.stop_event.wait()
                return
            self.all_there.wait()
            if self.fail_once.acquire(blocking=False):
                raise ValueError("one of three")
            self.stop_event.wait()

    with running_task(Several) as task:
        task.all_there.wait()
        task.again.wait()
        assert len(task.begun) == 4
        assert len(set(task.begun)) == 3
        assert sorted({thread.name for thread in task.threads}) == sorted(set(task.begun))
        assert task.service.getCounter("Several.n_restarts") == 1


def test_degraded_task_turns_the_status_to_warning() -> None:
    class Waits(VTask):
        RESTART = RestartPolicy("on-failure", first_wait=3600.0, max_wait=3600.0)

        def _runloop(self) -> None:
            raise ValueError("down")

    with running(service_of(Waits)) as instance:
        task = instance.requireTask(Waits)
        with instance.health._readiness:
            instance.health._readiness.wait_for(
                lambda: task.state == "DEGRADED" and instance.getWarnings()
            )
        assert instance.health.status == "WARNING"
        assert (
            instance.health.ready
        )  # what is degraded may serve still; a task says itself when it cannot
        assert list(instance.getWarnings().values()) == [
            "Waits failed and is restarted: ValueError: down"
        ]


def test_several_failures_are_one_warning() -> None:
    class Three(Flaky):
        failures = 3

    with running(service_of(Three)) as instance:
        instance.requireTask(Three).begin.set()
        instance.requireTask(Three).settled.wait()
        assert list(instance.getWarnings().values()) == [
            "Three failed and is restarted: ValueError: failure 3"
        ]


def test_restart_warning_ends_with_its_window() -> None:
    class Brief(Flaky):
        RESTART = RestartPolicy("on-failure", first_wait=0.0, window=0.05)

    with running(service_of(Brief)) as instance:
        instance.requireTask(Brief).begin.set()
        instance.requireTask(Brief).settled.wait()
        with instance.health._readiness:
            instance.health._readiness.wait_for(lambda: not instance.getWarnings())
        assert instance.health.status == "ALIVE"


def test_dependants_are_told_of_a_restart() -> None:
    told: list[str] = []

    class Dependant(VTask):
        LOOPLESS = True
        DEPS = [Flaky]

        def on_dependency_restarted(self, task: VTask) -> None:
            told.append(task.name)

    with running(service_of(Dependant)) as instance:
        instance.requireTask(Flaky).begin.set()
        instance.requireTask(Flaky).settled.wait()
    assert told == ["Flaky"]


def test_always_worker_restarts_when_it_returns() -> None:
    class Again(Flaky):
        RESTART = RestartPolicy("always", first_wait=0.0)

        def _runloop(self) -> None:
            self.begin.wait()
            self.runs += 1
            if self.runs == 3:
                self.settled.set()
                self.stop_event.wait()

    with running(service_of(Again)) as instance:
        instance.requireTask(Again).begin.set()
        instance.requireTask(Again).settled.wait()
        assert instance.getCounter("Again.n_failures") == 0


def test_stop_during_a_restart_wait_is_quick() -> None:
    class Waits(VTask):
        RESTART = RestartPolicy("on-failure", first_wait=3600.0, max_wait=3600.0)

        def _runloop(self) -> None:
            raise ValueError("down")

    with running_task(Waits) as task, task.service.health._readiness:
        task.service.health._readiness.wait_for(lambda: task.state == "DEGRADED")
    assert task.state == "STOPPED"


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
    instance = make_service(service_of(Flaky))
    thread = instance.startBG()
    instance.requireTask(Flaky).begin.set()
    instance.requireTask(Flaky).settled.wait()
    instance.shutdown()
    thread.join()
    assert instance.health.status == "STOPPED"
    assert "failed in sparts_task_change" in caplog.text


def test_counter_that_never_answers(tmp_path: Path) -> None:
    body = """
from sparts.asking import Asking
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
