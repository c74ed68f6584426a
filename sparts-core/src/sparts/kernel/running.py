"""The tasks of a service that run: made, initialised, started and stopped in their order."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, TypeAlias

from sparts.errors import SkipTask, log_error, message_of
from sparts.states import TaskState
from sparts.taskset import missing_of, needs_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from sparts.dispatch import Hooks
    from sparts.kernel.supervision import Supervisor
    from sparts.protocols import Task

    Step: TypeAlias = Callable[[str, Supervisor], None]


class RunningTasks:
    """The supervisors of the tasks of one instance of a service, in start order.

    Whatever begins or ends tasks is called in the lifecycle thread of the service.

    Args:
        hooks: called around each step of a task's life.
    """

    def __init__(self, hooks: Hooks | None = None) -> None:
        self.made: bool = False
        """Whether the tasks have been made."""
        self._hooks: Any = hooks
        self._all: dict[str, Any] = {}  # replaced at each change: other threads read it
        self._initialised: dict[Supervisor, None] = {}
        self._started: set[Supervisor] = set()

    def __iter__(self) -> Iterator[Supervisor]:
        return iter([task._supervisor for task in self._all.values()])

    def tasks(self) -> dict[str, Task]:
        """Return the tasks by name, in start order, to read only."""
        return self._all

    def dependencies(self, task: type[Task]) -> list[Supervisor]:
        """Return the tasks that a class depends on, or follows, directly."""
        return [need._supervisor for need in needs_of(task, self._all)]

    def dependants(self, task: Task) -> list[Supervisor]:
        """Return the tasks that depend on a task directly."""
        mine = self._all.get(type(task).__name__)
        return [each for each in self if mine in needs_of(type(each.task), self._all)]

    def create(self, classes: Iterable[Callable[[Any], Any]], service: Any) -> None:
        """Make an instance of every class, in start order."""
        self.made = True
        for make in classes:
            task = make(service)
            self._all = self._all | {task._supervisor.name: task}

    def replace(self, old: Task, new: Any) -> None:
        """Put a new instance, not yet initialised, in the place of one that has stopped."""
        supervisor: Supervisor = new._supervisor
        self._all = self._all | {supervisor.name: new}
        self._initialised = {supervisor if e.task is old else e: None for e in self._initialised}

    def remove(self, name: str) -> None:
        """Take a task out; what was initialised is stopped all the same."""
        supervisor = self._all[name]._supervisor
        self._all = {key: task for key, task in self._all.items() if key != name}
        if supervisor not in self._initialised:
            supervisor.state = TaskState.SKIPPED
            supervisor.ours._left_out()

    def init(self, step: Step) -> None:
        """Initialise every task in start order, but for those that are held or are initialised.

        What raises `SkipTask` is left out, with what depends on it and sets ``DEPS_OPTIONAL`` to
        False.

        ``step(what, task)`` is called before each and may raise to end the start.
        """
        reasons: dict[str, str] = {}
        for task in self:
            gone = task.name not in self._all  # removed meanwhile
            if gone or task.held or task in self._initialised:
                continue
            step("initTask", task)
            task.state = TaskState.STARTING
            try:
                if not task.ours.DEPS_OPTIONAL and (missing := missing_of(task.ours, self._all)):
                    why = reasons.get(missing)
                    raise SkipTask(f"{missing}: {why}" if why else f"{missing} is not there")
                _ = task.ours._call_wrappers  # known before anything of the task can be called
                self._hooks.call("sparts_task_init", task=task.task)
            except SkipTask as reason:
                reasons[task.name] = message_of(reason)
                task.ours.logger.warning("%s left out: %s", task.name, reasons[task.name])
                self.remove(task.name)
                continue
            except BaseException as error:
                task.fail_with(error)
                raise
            self._initialised[task] = None

    def start(self, step: Step) -> None:
        """Start every task in start order that is not started; ``step`` as in `init`."""
        for task in self:
            if task.held or task in self._started:
                continue
            self._started.add(task)
            step("start", task)
            self._hooks.call("sparts_task_start", task=task.task)
            task.start_returned()

    def stop(self, step: Step) -> list[tuple[str, BaseException]]:
        """Stop what was initialised, in reverse; return what each ``stop()`` and ``join()`` raised,
        with the name of its task.

        Every task is stopped in reverse start order, but not before all that depend on it have been
        joined. Before that, those that were not initialised end what others wait for.
        """
        for task in self:
            if task not in self._initialised:
                _attempt(task, task.ours._left_out)
        errors: list[tuple[str, BaseException]] = []
        waiting: dict[Supervisor, None] = {}
        dependants: dict[Supervisor, list[Supervisor]] = {}
        for task in self._initialised:
            for need in self.dependencies(type(task.task)):
                dependants.setdefault(need, []).append(task)

        def join(task: Supervisor) -> None:
            step("join", task)
            errors.extend(_attempt(task, task.ours.join))
            waiting.pop(task, None)
            step("joined", task)
            ended = TaskState.DEAD if task.failed else TaskState.STOPPED
            errors.extend(_attempt(task, functools.partial(setattr, task, "state", ended)))

        for task in reversed(self._initialised):
            for dependant in dependants.get(task, ()):
                if dependant in waiting:
                    join(dependant)
            step("stop", task)
            stop = functools.partial(self._hooks.call, "sparts_task_stop", task=task.task)
            errors.extend([*_attempt(task, task.stopping), *_attempt(task, stop)])
            waiting[task] = None
        for task in list(waiting):
            join(task)
        self._initialised.clear()
        return errors


def _attempt(task: Supervisor, action: Callable[[], object]) -> list[tuple[str, BaseException]]:
    try:
        action()
    except BaseException as error:
        log_error(task.ours.logger, "%s failed while stopping", task.name)
        return [(task.name, error)]
    return []
