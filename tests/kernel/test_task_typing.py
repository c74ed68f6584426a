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
from sparts.tasks.queue import QueueTask
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


def test_pyright_knows_the_class_of_a_task(tmp_path: Path) -> None:
    (tmp_path / "typed.py").write_text(TYPED)
    checker = Path(sys.executable).with_name("basedpyright")
    done = captured(
        [checker, "--outputjson", "--pythonpath", sys.executable, "typed.py"], cwd=tmp_path
    )
    found = json.loads(done.stdout)["generalDiagnostics"]
    assert [each["message"] for each in found if each["severity"] == "error"] == []
