"""The tasks of a service, as its code sees them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, cast, overload

from sparts.established import TaskReference
from sparts.references import name_or_class, resolve_all

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sparts.protocols import Task

__all__ = ["TaskReference", "Tasks", "find", "missing_of", "needs_of"]

_T = TypeVar("_T")


class Tasks:
    """The tasks of a service, as its code sees them: classes until they are made, then instances.

    Read by attribute (``tasks.NAME``), index (position, name or class), `get`, `require`,
    iteration, in start order.

    Args:
        references: the task classes, or names of them.
        running: what makes and holds the instances: `sparts.kernel.running.RunningTasks`.
    """

    def __init__(self, references: Iterable[TaskReference] = (), running: Any = None) -> None:
        self.task_classes: list[Any] = resolve_all(references)
        self._running = running

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
        if self._running and self._running.made:  # also when every task was left out
            return cast("dict[str, Any]", self._running.tasks())
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
    classes = ((each, each if isinstance(each, type) else type(each)) for each in tasks.values())
    return next((each for each, cls in classes if issubclass(cls, wanted)), None)


def needs_of(task: Any, tasks: dict[str, Any]) -> list[Any]:
    """Return those of the tasks that a task class depends on, or follows, directly."""
    needs = [find(tasks, name_or_class(need)) for need in task._dependencies()]
    if followed := tuple(task._follows()):
        needs += [each for each in tasks.values() if isinstance(each, followed)]
    return [need for need in dict.fromkeys(needs) if need and type(need) is not task]


def missing_of(task: Any, tasks: dict[str, Any]) -> str:
    """Return the name of a task that ``task`` depends on and that is not here, or ``""``."""
    for wanted in map(name_or_class, task._dependencies()):
        if find(tasks, wanted) is None:
            return wanted if isinstance(wanted, str) else str(wanted.__name__)
    return ""
