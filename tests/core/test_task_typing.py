"""What type checkers know of the tasks that a service gives."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from tests.core.test_queue_typing import errors_of
from tests.processes import captured

TYPED = """
from typing import Any, assert_type
from sparts.vservice import VService
from sparts.tasks.periodic import PeriodicTask
from sparts.tasks.file import DirectoryWatcherTask
from sparts.tasks.queue import ExecuteContext, QueueTask
from sparts.vtask import RestartPolicy, TaskReference, VTask

class Mailer(VTask):
    sent: int = 0

class Clock(PeriodicTask):
    INTERVAL = 5
    LOOPLESS = True
    DEPS = [Mailer]
    RESTART = RestartPolicy("on-failure", limit=3)

class Items(QueueTask[int, int]):
    WORKERS = 3
    STOP_TIMEOUT = 5.0
    DEPS = [Clock, "Mailer"]
    DEPS_OPTIONAL = False
    RESTART = "on-failure"

    def execute(self, photo: int, attempt: ExecuteContext) -> int:
        return photo

class Files(DirectoryWatcherTask):
    def onFileCreated(self, filename: str, found: object) -> None: ...
    def onFileChanged(self, filename: str, before: object, after: object) -> None: ...
    def onValueChanged(self, before: object, after: object) -> None: ...

references: list[TaskReference] = [Mailer, Clock, Items]

class Both(VService):
    TASKS = [Mailer, Clock, Items, "other=Mailer"]

def check(service: VService, task: VTask) -> None:
    assert_type(service.requireTask(Mailer), Mailer)
    assert_type(service.getTask(Mailer), Mailer | None)
    assert_type(service.requireTask("Mailer"), Any)
    assert_type(service.tasks.require(Mailer), Mailer)
    assert_type(task.service.requireTask(Mailer).sent, int)
    task.set_ready(service.health.ready)
"""


def test_mypy_knows_the_class_of_a_task(tmp_path: Path) -> None:
    (error,) = errors_of(tmp_path, f"{TYPED}    service.requireTask(Mailer).missing\n")
    assert '"Mailer" has no attribute "missing"' in error


SERVICE = """
from sparts.tasks.async_periodic import AsyncPeriodicTask
from sparts.tasks.async_queue import AsyncQueueTask
from sparts.tasks.asyncio import AsyncioTask
from sparts.tasks.file import DirectoryWatcherTask
from sparts.tasks.periodic import ExecuteContext, PeriodicTask
from sparts.tasks.poller import PollerTask
from sparts.tasks.queue import QueueTask
from sparts.vservice import VService
from sparts.vtask import RestartPolicy, VTask

class Sender(QueueTask[str, int]):
    RESTART = RestartPolicy("on-failure", limit=3)
    STOP_TIMEOUT = 5.0
    WORKERS = 3

    def execute(self, item: str, context: ExecuteContext) -> int:
        return len(item)

class Late(AsyncQueueTask[str, int]):
    async def execute(self, item: str, context: ExecuteContext) -> int:
        return len(item)

class Poll(PollerTask):
    DEPS = [Sender, "Late"]
    INTERVAL = "5s"
    RESTART = "always"

    def fetch(self) -> int:
        return 1

class Tick(AsyncPeriodicTask):
    async def execute(self, context: ExecuteContext | None = None) -> None: ...
    async def stop_in_loop(self) -> None: ...

class Watch(DirectoryWatcherTask):
    PATH = "/tmp"

class Plain(AsyncioTask):
    async def run(self) -> None: ...
    def stop_in_loop(self) -> None: ...

class Awaiting(AsyncioTask):
    async def run(self) -> None: ...
    async def start_in_loop(self) -> None: ...

class Idle(VTask):
    LOOPLESS = True
    DEPS_OPTIONAL = False

class Service(VService):
    TASKS = [Sender, Late, Poll, "Tick", Watch, Plain, Awaiting, Idle]
"""


def test_mypy_knows_what_a_service_may_have(tmp_path: Path) -> None:
    assert errors_of(tmp_path, SERVICE) == []


def test_pyright_knows_what_a_service_may_have(tmp_path: Path) -> None:
    assert pyright_errors(tmp_path, SERVICE) == []
    (error,) = pyright_errors(tmp_path, SERVICE.replace("Idle]", "Idle, int]"))
    assert "Sequence[TaskReference]" in error


def test_pyright_knows_the_class_of_a_task(tmp_path: Path) -> None:
    assert pyright_errors(tmp_path, TYPED) == []


def pyright_errors(folder: Path, text: str) -> list[str]:
    """Give the errors that pyright finds in a module."""
    (folder / "typed.py").write_text(text)
    checker = Path(sys.executable).with_name("basedpyright")
    command = [checker, "--outputjson", "--pythonpath", sys.executable, "typed.py"]
    found = json.loads(captured(command, cwd=folder).stdout)["generalDiagnostics"]
    return [each["message"] for each in found if each["severity"] == "error"]
