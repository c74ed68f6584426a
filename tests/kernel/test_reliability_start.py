"""Faults while a service starts: rows of docs/reliability.md, each a test of the same name."""

from __future__ import annotations

import signal
import threading
from concurrent.futures import Future
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest
from sparts.errors import LoopStoppedError, SkipTask, StartError, TaskStoppedError
from sparts.states import ServiceStatus
from sparts.tasks.asyncio import AsyncioLoopTask
from sparts.tasks.periodic import PeriodicTask
from sparts.tasks.poller import PollerTask
from sparts.tasks.queue import QueueTask
from sparts.testing.running import make_service, running
from sparts.testing.waiting import WAIT
from sparts.vservice import VService
from sparts.vtask import VTask

from tests.core.scripts import ended, hung, service, stopped

TWO = """
class A(Idle):
    pass
class B(Idle):
    DEPS = [A]
"""


def test_task_that_fails_to_initialise(tmp_path: Path) -> None:
    body = f"""{TWO}
class C(Idle):
    def initTask(self):
        raise ValueError("no such table")
TASKS = [B, C]
"""
    process = ended(tmp_path, body, status=1)
    assert "ERROR:S:initTask of C failed: ValueError: no such table" in process.lines
    assert process.ending("stop", "joined") == ["B stop", "B joined", "A stop", "A joined"]
    assert "A start" not in process.lines


def test_task_that_fails_to_start(tmp_path: Path) -> None:
    body = f"""{TWO}
class C(Idle):
    def start(self):
        raise OSError("no room")
class D(Idle):
    pass
TASKS = [B, C, D]
"""
    process = ended(tmp_path, body, status=1)
    assert "ERROR:S:start of C failed: OSError: no room" in process.lines
    assert "B start" in process.lines
    assert "D start" not in process.lines
    assert process.ending("stop") == ["D stop", "C stop", "B stop", "A stop"]


def test_worker_that_crashes_while_others_still_start(tmp_path: Path) -> None:
    body = """
class A(VTask):
    def _runloop(self):
        raise ValueError("at once")
class B(Idle):
    DEPS = [A]
    def start(self):
        stopping.wait()
        super().start()
class C(Idle):
    DEPS = [B]
class S(TellsOfItsStop):
    TASKS = [C]
"""
    process = ended(tmp_path, body, status=1)
    assert "DEBUG:S:All tasks started" not in process.lines
    assert "ERROR:S:Instance ended with status 1: A failed: ValueError: at once" in process.lines


def test_start_that_hangs_past_its_timeout(tmp_path: Path) -> None:
    body = f"""{TWO}
class C(Idle):
    def initTask(self):
        threading.Event().wait()
TASKS = [B, C]
"""
    process = ended(tmp_path, body, "--start-timeout", "200ms", status=1)
    assert "ERROR:S:initTask of C did not end within 0.2 s (--start-timeout)" in process.lines
    assert "in initTask" in process.output
    assert process.ending("stop") == ["B stop", "A stop"]


def test_stop_during_start_starts_nothing_further(tmp_path: Path) -> None:
    body = """
class A(Idle):
    pass
class B(Idle):
    def start(self):
        say("B starts")
        stopping.wait()
class C(Idle):
    pass
class S(TellsOfItsStop):
    TASKS = [A, B, C]
"""
    process = stopped(tmp_path, body, until="B starts", number=signal.SIGTERM, status=0)
    assert "C start" not in process.lines
    assert "DEBUG:S:All tasks started" not in process.lines
    assert process.ending("stop") == ["C stop", "B stop", "A stop"]
    assert "INFO:S:Instance shut down gracefully" in process.lines


HANGS = """
class C(VTask):
    def initTask(self):
        say("hangs")
        threading.Event().wait()
"""


def test_stop_during_hung_start_ends_at_deadline(tmp_path: Path) -> None:
    process = hung(tmp_path, HANGS, until="hangs")
    assert "CRITICAL:S:Not stopped, although 0.2 s have passed: C" in process.lines
    assert "in initTask" in process.output


def test_second_signal_ends_a_hung_start_at_once(tmp_path: Path) -> None:
    with service(tmp_path, HANGS, "--stop-timeout", "1h") as process:
        process.read_until("hangs")
        process.send(signal.SIGTERM)
        process.read_until("SIGTERM Received!")
        assert process.stop_again(signal.SIGTERM) == 70
    assert "CRITICAL:S:Not stopped, although a second SIGTERM came: C" in process.lines


def test_start_that_ends_early_leaves_nobody_waiting(caplog: pytest.LogCaptureFixture) -> None:
    waiting: list[Future[Any]] = []
    polled: SimpleQueue[BaseException] = SimpleQueue()

    class Fails(VTask):
        LOOPLESS = True

        def initTask(self) -> None:  # noqa: N802
            raise ValueError("no such table")

    class Items(QueueTask):
        DEPS = [Fails]

    class Times(PeriodicTask):
        DEPS = [Fails]
        INTERVAL = 60

    class Value(PollerTask):
        DEPS = [Fails]
        INTERVAL = 60

    class Service(VService):
        TASKS = [Fails, AsyncioLoopTask, Items, Times, Value]

        def initService(self) -> None:  # noqa: N802
            waiting.append(self.tasks.AsyncioLoopTask.call(str))
            waiting.append(self.tasks.Items.submit(1))
            waiting.append(self.tasks.Times.execute_async())
            reader.start()

        def poll(self) -> None:
            try:
                self.tasks.Value.getValue()
            except BaseException as error:
                polled.put(error)

    service = make_service(Service)
    reader = threading.Thread(target=service.poll)
    with pytest.raises(StartError, match="no such table"):
        service.startBG()
    call, item, run = waiting
    assert isinstance(call.exception(timeout=0), LoopStoppedError)
    assert item.cancelled()
    assert run.cancelled()
    assert isinstance(polled.get(timeout=WAIT), TaskStoppedError)
    reader.join()
    states = {task.name: str(task.state) for task in service.getChildren().values()}
    assert states["Fails"] == "DEAD"
    assert states["Items"] == "NEW"
    assert "Items left when Items had stopped: 1;" in caplog.text
    with pytest.raises(TaskStoppedError):
        service.tasks.Items.queue.put(2)


def test_items_of_a_skipped_task_are_given_up() -> None:
    items: list[Future[Any]] = []

    class Skips(QueueTask):
        def initTask(self) -> None:  # noqa: N802
            raise SkipTask("not here")

    class Service(VService):
        TASKS = [Skips]

        def initService(self) -> None:  # noqa: N802
            items.append(self.tasks.Skips.submit(1))

    with running(Service):
        assert items[0].cancelled()


def test_stop_at_the_very_end_of_the_start() -> None:
    instance = make_service(VService)
    instance.health.record_status(ServiceStatus.STARTING)
    instance.health.record_status(ServiceStatus.STOPPING)
    instance.health.record_status(ServiceStatus.ALIVE)  # the start comes to its end all the same
    assert instance.health.status == "STOPPING"


def test_task_that_skips_itself_is_left_out(tmp_path: Path) -> None:
    body = """
class A(Idle):
    def initTask(self):
        raise SkipTask("not configured")
class B(Idle):
    DEPS = [A]
    DEPS_OPTIONAL = False
class C(Idle):
    DEPS = [B]
    DEPS_OPTIONAL = False
class D(Idle):
    DEPS = [A]
TASKS = [B, C, D]
"""
    process = stopped(tmp_path, body, status=0)
    assert [line for line in process.lines if "left out" in line] == [
        "WARNING:S.A:A left out: not configured",
        "WARNING:S.B:B left out: A: not configured",
        "WARNING:S.C:C left out: B: A: not configured",
    ]
    assert [line for line in process.lines if line.endswith("start")] == ["D start"]


@pytest.mark.parametrize(
    ("method", "statement", "status"),
    [
        ("initTask", "raise OSError('the reason')", 1),
        ("start", "raise UsageError('the reason')", 2),
        ("initTask", "[][the_reason]", 1),
        ("start", "the_reason = threading.Event().wait()", 1),
    ],
)
def test_failed_start_logs_its_error_once(
    tmp_path: Path, method: str, statement: str, status: int
) -> None:
    body = f"""
from sparts.errors import UsageError
class A(Idle):
    def {method}(self):
        {statement}
"""
    process = ended(tmp_path, body, "--start-timeout", "1", "--log-format", "json", status=status)
    errors = [line for line in process.lines if '"ERROR"' in line]
    assert len(errors) == 2, process.output
    assert "reason" in errors[0] or "--start-timeout" in errors[0]
    assert f'"Instance ended with status {status}"' in errors[1]


def test_unknown_restart_policy_ends_with_status_2(tmp_path: Path) -> None:
    body = """
class A(Worker):
    RESTART = "sometimes"
"""
    process = ended(tmp_path, body, status=2)
    assert "ERROR:S:A.RESTART is 'sometimes': use 'never', 'on-failure'" in process.output
    assert process.lines[-1] == "ERROR:S:Instance ended with status 2"
    assert "Traceback" not in process.output


@pytest.mark.parametrize(
    ("method", "error", "status", "said"),
    [
        (
            "initService",
            "ValueError('cannot be')",
            1,
            "ERROR:S:The start failed: ValueError: cannot be",
        ),
        ("preprocessOptions", "ValueError('cannot be')", 1, "ValueError: cannot be"),
        ("preprocessOptions", "UsageError('not both')", 2, "service.py: error: not both"),
    ],
)
def test_service_that_fails_before_its_tasks_start(
    method: str, error: str, status: int, said: str, tmp_path: Path
) -> None:
    body = f"""
from sparts.errors import UsageError
class S(VService):
    TASKS = [Idle]
    def {method}(self):
        raise {error}
"""
    process = ended(tmp_path, body, status=status)
    assert said in process.lines
    assert "Idle init" not in process.lines
    assert status == 1 or process.lines == [said]


def test_hook_that_fails_around_a_start(tmp_path: Path) -> None:
    body = """
class Plugin:
    @hookimpl(wrapper=True)
    def sparts_task_start(self, task):
        result = yield
        if task.name == "B":
            raise ValueError("not like this")
        return result
class A(Idle):
    pass
class B(Idle):
    DEPS = [A]
class S(Plugged):
    TASKS = [B]
"""
    process = ended(tmp_path, body, status=1)
    assert "ERROR:S:start of B failed: ValueError: not like this" in process.lines
    assert [line for line in process.lines if line.endswith("stop")] == ["B stop", "A stop"]
