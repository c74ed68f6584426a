"""The tasks of a service: its classes, and the instances that run."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar, overload

from sparts.errors import SkipTask, log_error, message_of
from sparts.references import name_or_class, resolve_all
from sparts.states import TaskState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from sparts.kernel.supervision import Supervisor
    from sparts.plugins.dispatch import Hooks
    from sparts.protocols import Task, TaskReference

    Step: TypeAlias = Callable[[str, Supervisor], None]

_T = TypeVar("_T")


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
        self._all: dict[str, Supervisor] = {}
        self._initialised: list[Supervisor] = []
        self._started: set[Supervisor] = set()

    def __iter__(self) -> Iterator[Supervisor]:
        return iter(list(self._all.values()))

    def tasks(self) -> dict[str, Task]:
        """Return the tasks by name, in start order."""
        return {name: each.task for name, each in list(self._all.items())}

    def dependencies(self, task: type[Task]) -> list[Supervisor]:
        """Return the tasks that a class depends on, or follows, directly."""
        made: Any = task
        tasks = self.tasks()
        needs = [find(tasks, name_or_class(need)) for need in made._dependencies()]
        if followed := tuple(made._follows()):
            needs += [each for each in tasks.values() if isinstance(each, followed)]
        return [
            self._all[type(n).__name__] for n in dict.fromkeys(needs) if n and type(n) is not task
        ]

    def dependants(self, task: Task) -> list[Supervisor]:
        """Return the tasks that depend on a task directly."""
        mine = self._all.get(type(task).__name__)
        return [each for each in self if mine in self.dependencies(type(each.task))]

    def create(self, classes: Iterable[Callable[[Any], Any]], service: Any) -> None:
        """Make an instance of every class, in start order."""
        self.made = True
        for make in classes:
            supervisor: Supervisor = make(service)._supervisor
            self._all[supervisor.name] = supervisor

    def replace(self, old: Task, new: Any) -> None:
        """Put a new instance, not yet initialised, in the place of one that has stopped."""
        supervisor: Supervisor = new._supervisor
        self._all[supervisor.name] = supervisor
        self._initialised = [supervisor if e.task is old else e for e in self._initialised]

    def remove(self, name: str) -> None:
        """Take a task out; what was initialised is stopped all the same."""
        supervisor = self._all.pop(name)
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
                if not task.ours.DEPS_OPTIONAL and (missing := self._missing(task)):
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
            self._initialised.append(task)

    def _missing(self, task: Supervisor) -> str:
        """Return the name of a task that ``task`` depends on and that is not here, or ``""``."""
        for need in task.ours._dependencies():
            wanted = name_or_class(need)
            if find(self.tasks(), wanted) is None:
                return wanted if isinstance(wanted, str) else str(wanted.__name__)
        return ""

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


class Tasks:
    """The tasks of a service, as its code sees them: classes until they are made, then instances.

    Read by attribute (``tasks.NAME``), index (position, name or class), `get`, `require`,
    iteration, in start order.

    Args:
        references: the task classes, or names of them.
        running: what makes and holds the instances; None: nothing calls hooks around their lives.
    """

    def __init__(
        self, references: Iterable[TaskReference] = (), running: RunningTasks | None = None
    ) -> None:
        self.task_classes: list[Any] = resolve_all(references)
        self._running = running or RunningTasks()

    def create(self, service: Any) -> None:
        """Make an instance of every class, in start order; in the lifecycle thread."""
        self._running.create(self.task_classes, service)

    def register(self, reference: TaskReference) -> None:
        """Add one more task, and what it depends on; before the tasks are made."""
        self.register_all([reference])

    def register_all(self, references: Iterable[TaskReference]) -> None:
        """Add several tasks, and what they depend on; before the tasks are made."""
        self.task_classes = resolve_all([*self.task_classes, *references])

    def unregister(self, reference: TaskReference) -> None:
        """Take a task class out, before the tasks are made. KeyError if it is not here."""
        found = self.require(name_or_class(reference))
        self.task_classes = [task for task in self.task_classes if task is not found]

    def remove(self, task: Task) -> None:
        """Take a task out, when the tasks are made; what was initialised is stopped all the same.

        Call it in ``initService`` or ``initTask``. KeyError if it is not here.
        """
        self._running.remove(type(self.require(type(task).__name__)).__name__)

    @property
    def tasks(self) -> list[Any]:
        """The tasks in start order: classes until they are made, then instances."""
        return list(self)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._by_name().values())

    def __len__(self) -> int:
        return len(self._by_name())

    def _by_name(self) -> dict[str, Any]:
        if self._running.made:  # also when every task was left out
            return self._running.tasks()
        return {task.__name__: task for task in self.task_classes}

    def __contains__(self, task: object) -> bool:
        return isinstance(task, str | type) and find(self._by_name(), task) is not None

    def __getitem__(self, key: int | str | type[Task]) -> Any:
        return list(self)[key] if isinstance(key, int) else self.require(key)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        try:
            return self.require(name)
        except KeyError as error:
            raise AttributeError(*error.args) from None

    @overload
    def get(self, task: type[_T]) -> _T | None: ...
    @overload
    def get(self, task: TaskReference) -> Any: ...
    def get(self, task: Any) -> Any:
        """Return the task of a name or class (or else the first of a subclass), or None."""
        return find(self._by_name(), task)

    @overload
    def require(self, task: type[_T]) -> _T: ...
    @overload
    def require(self, task: TaskReference) -> Any: ...
    def require(self, task: Any) -> Any:
        """Return the task of a name or class.

        Raises:
            KeyError: it is not here; the message names what is.
        """
        found = self.get(task)
        if found is None:
            name = task if isinstance(task, str) else task.__name__
            here = ", ".join(self._by_name()) or "none"
            raise KeyError(f"This service has no task {name!r}. Its tasks: {here}.")
        return found

    def dependencies(self, task: Task) -> list[Any]:
        """Return the tasks of this service that a task depends on, or follows, directly."""
        return [need.task for need in self._running.dependencies(type(task))]

    def dependants(self, task: Task) -> list[Any]:
        """Return the tasks of this service that depend on a task directly."""
        return [each.task for each in self._running.dependants(task)]

    def held(self) -> list[str]:
        """Return the names of the tasks that another process runs (``Supervisor.held``)."""
        return [task.name for task in self._running if task.held]

    def release(self) -> None:
        """Initialise and start the tasks that were held; in the lifecycle thread."""
        for task in self._running:
            task.held = False
        self._running.init(lambda what, task: None)
        self._running.start(lambda what, task: None)

    def replace(self, old: Task, new: Task) -> None:
        """Put a new instance in the place of one that has stopped; in the lifecycle thread."""
        self._running.replace(old, new)


def find(tasks: dict[str, Any], wanted: str | type[Any]) -> Any:
    """Return the task of a name or class (or else the first of a subclass), or None."""
    if isinstance(wanted, str):
        return tasks.get(wanted)
    found = tasks.get(wanted.__name__)
    if found is not None and (found is wanted or type(found) is wanted):
        return found
    return next((each for each in tasks.values() if _is_a(each, wanted)), None)


def _is_a(task: Any, wanted: type[Any]) -> bool:
    return issubclass(task, wanted) if isinstance(task, type) else isinstance(task, wanted)


def _attempt(task: Supervisor, action: Callable[[], object]) -> list[tuple[str, BaseException]]:
    try:
        action()
    except BaseException as error:
        log_error(task.ours.logger, "%s failed while stopping", task.name)
        return [(task.name, error)]
    return []
