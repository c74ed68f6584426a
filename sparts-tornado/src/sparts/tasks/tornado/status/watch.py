"""What the status task remembers of other tasks: failures, when they changed, gates, dead letters.

It listens by hooks, from its own `initTask` on, so it costs the tasks nothing but where they fail.
"""

from __future__ import annotations

import time
import traceback
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from sparts.errors import describe
from sparts.hookspecs import hookimpl
from sparts.masking import masked
from sparts.tasks.item_work import ItemWork
from sparts.tasks.tornado.status.gates import Gate, put_gate
from sparts.tasks.tornado.status.letters import DeadLetters

if TYPE_CHECKING:
    from collections.abc import Generator

    from sparts.states import TaskState
    from sparts.vtask import VTask

ERRORS = 10
"""How many failures of each task are kept."""


class Watch:
    """A hook plugin that is registered while the status task is there."""

    def __init__(self) -> None:
        self.gates: dict[str, Gate] = {}
        """The gates of the tasks that can be paused, by name."""
        self.letters: dict[str, DeadLetters] = {}
        """The dead letters of queue tasks, by name."""
        self.since: dict[str, float] = {}
        """When the state of each task last changed, in seconds since the epoch."""
        self._checks: dict[str, set[str]] = {}
        self._errors: dict[str, deque[dict[str, Any]]] = {}

    def errors(self, task: str) -> list[dict[str, Any]]:
        """Return the last failures of a task, the latest first."""
        return list(reversed(self._errors.get(task, ())))

    def paused(self, task: str) -> bool:
        """Return whether a task is paused."""
        return task in self.gates and self.gates[task].closed

    def open_all(self) -> None:
        """Let all tasks go on."""
        for gate in self.gates.values():
            gate.open()

    @hookimpl(wrapper=True)
    def sparts_task_init(self, task: VTask) -> Generator[None, Any, Any]:
        """Note which health checks a task adds."""
        before = task._instance.health.checks().keys()
        result = yield
        self._checks[task._supervisor.name] = task._instance.health.checks().keys() - before
        return result

    def forget_checks(self, task: VTask) -> None:
        """Remove the health checks of a task whose next instance adds them again."""
        health = task._instance.health
        mine = self._checks.pop(task._supervisor.name, set())
        for name, check in health.checks().items():
            if name in mine or getattr(check, "__self__", None) is task:
                health.remove_check(name)

    @hookimpl(tryfirst=True)
    def sparts_task_start(self, task: VTask) -> None:
        """Put a gate into a task, and keep its dead letters."""
        with suppress(AttributeError):  # a backlog of others whose methods cannot be replaced
            gate = put_gate(task)
            if gate is not None:
                self.gates[task._supervisor.name] = gate
            if isinstance(task, ItemWork):
                self.letters[task._supervisor.name] = DeadLetters(task)

    @hookimpl(tryfirst=True)
    def sparts_task_stop(self, task: VTask) -> None:
        """Let a paused task finish what it has."""
        if task._supervisor.name in self.gates:
            self.gates[task._supervisor.name].open()

    @hookimpl
    def sparts_task_change(self, task: VTask, old: TaskState, new: TaskState) -> None:
        """Note when the state changed."""
        self.since[task._supervisor.name] = time.time()

    @hookimpl
    def sparts_task_failure(self, task: VTask, error: BaseException, delay: float | None) -> None:
        """Keep a failure with its traceback."""
        told = "".join(traceback.format_exception(error))
        failure = {
            "time": time.time(),
            "error": masked(describe(error)),
            "traceback": masked(told[-8000:]),
            "again": delay,
        }
        self._errors.setdefault(task._supervisor.name, deque(maxlen=ERRORS)).append(failure)
