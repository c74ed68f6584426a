"""The test kit runs services in the test's process, and finds what they leave behind."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sparts.errors import StartError, UsageError
from sparts.hookspecs import hookimpl
from sparts.states import ServiceStatus, TaskState
from sparts.tasks.queue import QueueTask
from sparts.testing import (
    Leftovers,
    Recorder,
    ServiceFactory,
    log_of,
    restart,
    service_of,
    wait_ended,
    wait_for_event,
    wait_for_result,
    wait_ready,
    wait_state,
    wait_status,
)
from sparts.testing.running import make_service, running
from sparts.vservice import VService
from sparts.vtask import VTask

from tests.core.leaving import LEFT
from tests.processes import captured
from tests.threads import in_threads

SOON = 0.01  # a time within which what is waited for without effect is not going to come


class Waits(VTask):
    """Waits for the end."""

    def _runloop(self) -> None:
        self.stop_event.wait()


class Fails(VTask):
    """Fails when it is asked to."""

    def initTask(self) -> None:  # noqa: N802
        self.told = threading.Event()

    def stop(self) -> None:
        super().stop()
        self.told.set()

    def _runloop(self) -> None:
        self.told.wait()
        if not self.stop_event.is_set():
            raise ValueError("no such host")


class Echo(QueueTask):
    """Gives back what it is given."""

    def execute(self, item: Any, context: object) -> Any:
        self.logger.info("got %s", item)
        return item


class MyService(VService):
    TASKS = [Waits, Echo]


@pytest.fixture
def service(service_factory: ServiceFactory) -> MyService:
    """Give a service that runs."""
    return service_factory(MyService)


# -- the factory -----------------------------------------------------------------------------------


def test_service_is_ready_with_its_command_line() -> None:
    factory = ServiceFactory()
    service = factory(MyService, "--stop-timeout", "7s")
    assert service.health.ready
    assert service._instance.settings.stop_timeout == 7.0
    new = restart(service)
    assert new is not service
    assert new.health.ready
    factory.close()
    assert service.health.status is new.health.status is ServiceStatus.STOPPED


def test_restart_raises_what_fails_between() -> None:
    def fail() -> None:
        raise LookupError("between")

    with pytest.raises(LookupError, match="between"), running(service_of()) as service:
        restart(service, between=fail)


def test_several_services_are_stopped_the_last_one_first() -> None:
    factory = ServiceFactory()
    ended: list[str] = []

    class Noting(VService):
        def initService(self) -> None:  # noqa: N802
            self.hooks.register(self)

        @hookimpl
        def sparts_service_change(self, new: ServiceStatus) -> None:
            if new is ServiceStatus.STOPPED:
                ended.append(self.name)

    for name in ("first", "second"):
        factory(type(name, (Noting,), {}))
    factory.close()
    assert ended == ["second", "first"]


def test_wrong_options_and_start_that_fails_reach_test(service_factory: ServiceFactory) -> None:
    class Broken(VTask):
        def initTask(self) -> None:  # noqa: N802
            raise ValueError("no such host")

    with pytest.raises(UsageError, match="--no-such"):
        service_factory(MyService, "--no-such")
    with pytest.raises(StartError, match="initTask of Broken failed: ValueError: no such host"):
        service_factory(service_of(Broken))


def crashed(factory: ServiceFactory, may_fail: bool) -> None:
    service = factory(service_of(Fails), may_fail=may_fail)
    service.requireTask(Fails).told.set()
    assert "no such host" in str(wait_ended(service))


def test_service_that_crashes_fails_test_unless_it_may() -> None:
    factory = ServiceFactory()
    crashed(factory, may_fail=True)
    factory.close()
    crashed(factory, may_fail=False)
    with pytest.raises(AssertionError, match="Service did not end in order: .*no such host"):
        factory.close()


def test_unready_service_is_reported_and_stopped(service_factory: ServiceFactory) -> None:
    class Slow(Waits):
        def initTask(self) -> None:  # noqa: N802
            self.set_ready(False)

    with pytest.raises(AssertionError) as caught:
        service_factory(service_of(Slow), ready_timeout=SOON)
    assert "for the service to be ready" in str(caught.value)
    assert "Slow is ALIVE, not ready" in str(caught.value)


# -- what is left behind ---------------------------------------------------------------------------


@pytest.mark.parametrize(("leave", "told"), LEFT)
def test_what_a_service_leaves_behind_fails_the_test(
    leave: Callable[[], Callable[[], object]], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sparts.testing.leftovers.PATIENCE", SOON)
    ends: list[Callable[[], object]] = []

    class Leaves(Waits):
        def initTask(self) -> None:  # noqa: N802
            ends.append(leave())

    factory = ServiceFactory()
    factory(service_of(Leaves))
    try:
        with pytest.raises(AssertionError, match="What ran in the test left behind: ") as caught:
            factory.close()
        assert told in str(caught.value)
    finally:
        ends[0]()


def test_what_was_there_before_is_not_left_behind() -> None:
    ends = [leave() for leave, _ in LEFT]
    try:
        assert Leftovers().find() == []
    finally:
        for end in ends:
            end()


def test_ending_thread_is_waited_for() -> None:
    before, end = Leftovers(), threading.Event()
    looked = threading.Event()

    class Late(threading.Thread):
        def join(self, timeout: float | None = None) -> None:
            looked.set()
            end.set()
            super().join(timeout)

    Late(target=end.wait).start()
    assert before.find() == []
    assert looked.is_set()


# -- waiting ---------------------------------------------------------------------------------------


def test_states_are_waited_for_as_they_come(service: MyService) -> None:
    task = service.requireTask(Waits)
    wait_state(task, TaskState.ALIVE)
    warning = service.registerWarning("disk nearly full")
    wait_status(service, ServiceStatus.WARNING)
    threading.Thread(target=service.clearWarning, args=(warning,)).start()
    wait_status(service, ServiceStatus.ALIVE)
    threading.Thread(target=service.shutdown).start()
    wait_state(task, TaskState.STOPPED)
    wait_status(service, ServiceStatus.STOPPED)
    assert wait_ended(service) is None


def test_stopped_task_is_seen_during_the_stop() -> None:
    gate = threading.Event()

    class Base(VTask):
        LOOPLESS = True

        def join(self) -> None:
            gate.wait()

    class Above(Waits):
        DEPS = [Base]

    factory = ServiceFactory()
    service = factory(service_of(Above))
    above = service.requireTask(Above)
    stopper = threading.Thread(target=service.shutdown)
    stopper.start()
    try:
        wait_state(above, TaskState.STOPPED, timeout=10_000)  # it comes at once, or never
        assert service.health.status is ServiceStatus.STOPPING
    finally:
        gate.set()
    stopper.join()
    factory.close()


def test_several_wait_at_time_and_are_all_woken(service: MyService) -> None:
    seen: Recorder[str] = Recorder(service)

    def wait() -> None:
        wait_status(service, ServiceStatus.WARNING)
        seen("WARNING")

    with in_threads(*[wait] * 5):
        service.registerWarning("disk nearly full")
        assert seen.wait(5) == ["WARNING"] * 5


def test_missing_event_is_reported_with_the_state(service: MyService) -> None:
    task = service.requireTask(Echo)
    assert task.submit(1).result(30) == 1
    waits: dict[str, Callable[[], object]] = {
        "for MyService to be WARNING or DEAD": lambda: wait_status(
            service, ServiceStatus.WARNING, ServiceStatus.DEAD, timeout=SOON
        ),
        "for Echo to be DONE": lambda: wait_state(task, TaskState.DONE, timeout=SOON),
        "for the end of MyService": lambda: wait_ended(service, SOON),
        "for the mail": lambda: wait_for_event(threading.Event(), "the mail", service, SOON),
        "for the answer": lambda: wait_for_result(_never(), "the answer", service, SOON),
        "for things to be noted: 3": lambda: Recorder[int](service).wait(3, SOON),
    }
    for what, wait in waits.items():
        with pytest.raises(AssertionError) as caught:
            wait()
        message = str(caught.value)
        assert message.startswith(f"Waited {SOON:g} s {what}")
        assert "MyService is ALIVE, ready: well" in message
        assert "Waits is ALIVE, ready; its threads: MyService.Waits" in message
        assert "Echo.n_completed = 1" in message


def _never() -> Any:
    from concurrent.futures import Future

    return Future[int]()


def test_ended_service_is_not_waited_for(service: MyService) -> None:
    service.shutdown()
    with pytest.raises(AssertionError, match="It ended, and did not come: Waits to be DONE"):
        wait_state(service.requireTask(Waits), TaskState.DONE)
    with pytest.raises(AssertionError, match="It ended before it was ready"):
        wait_ready(service)


def test_result_of_a_future_is_given_or_raised(service: MyService) -> None:
    echo = service.requireTask(Echo)
    assert wait_for_result(echo.submit(7), "the echo", service) == 7
    broken = _never()
    broken.set_exception(ValueError("bad"))
    with pytest.raises(ValueError, match="bad"):
        wait_for_result(broken, "the answer")


def test_lines_of_the_log_are_waited_for(service_factory: ServiceFactory) -> None:
    service = service_factory(MyService, "--level", "DEBUG")
    with log_of(service) as log:
        service.requireTask(Echo).submit("a letter")
        assert log.wait_for_line(r"got (a \w+)")[1] == "a letter"
        assert log.items == ["INFO:MyService.Echo:got a letter"]
        with pytest.raises(AssertionError) as caught:
            log.wait_for_line("got nothing", SOON)
    assert "for the line 'got nothing'" in str(caught.value)
    assert "'INFO:MyService.Echo:got a letter'" in str(caught.value)
    service_factory.stop(service)
    assert log.items == ["INFO:MyService.Echo:got a letter"]
    assert service.health.ended.is_set()  # and is not stopped again at the end


def test_notes_are_given_in_order() -> None:
    noted: Recorder[int] = Recorder()
    threading.Thread(target=lambda: list(map(noted, range(5)))).start()
    assert noted.wait_for(lambda n: n > 2, "3") == 3
    assert noted.wait(5) == [0, 1, 2, 3, 4]


def test_service_of_tasks_has_them_and_other_attributes() -> None:
    service = make_service(service_of(Waits, "second=QueueTask", VERSION="3"))
    assert [task.__name__ for task in service.tasks] == ["Waits", "second"]
    assert service.VERSION == "3"


# -- as a plugin of pytest -------------------------------------------------------------------------

SUITE = """
from sparts.testing import service_of
from sparts.vtask import VTask

pytest_plugins = ["sparts.testing.fixtures"]
left = []

class Leaves(VTask):
    LOOPLESS = True
    def initTask(self):
        left.append(open("/dev/null"))

def test_well(service_factory):
    service_factory(service_of())

def test_leaves(service_factory):
    service_factory(service_of(Leaves))

def test_process(service_process, tmp_path):
    (tmp_path / "service.py").write_text(
        "from sparts.vservice import VService\\n"
        "VService.initFromCLI()\\n"
    )
    service_process(tmp_path / "service.py")

def test_process_that_ends_badly(service_process, tmp_path):
    (tmp_path / "service.py").write_text(
        "import atexit, os\\n"
        "from sparts.vservice import VService\\n"
        "atexit.register(os._exit, 9)\\n"
        "VService.initFromCLI()\\n"
    )
    service_process(tmp_path / "service.py")
"""


def test_fixtures_cost_others_nothing(tmp_path: Path) -> None:
    (tmp_path / "test_suite.py").write_text(SUITE)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    done = captured(command, cwd=tmp_path)
    assert "4 passed, 2 errors" in done.stdout, done.stdout
    assert "ERROR test_suite.py::test_leaves - AssertionError: What ran in" in done.stdout
    assert "SIGTERM ended it with 9" in done.stdout
    (tmp_path / "test_suite.py").write_text(
        "import sys\n"
        "def test_nothing_of_ours_is_imported():\n"
        "    assert not [name for name in sys.modules if name.startswith('sparts')]\n"
    )
    done = captured(command, cwd=tmp_path)
    assert "1 passed" in done.stdout, done.stdout
