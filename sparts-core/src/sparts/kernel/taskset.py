"""Tasks: a service's collection of tasks (register, resolve, order, create, init, start, stop)."""

from __future__ import annotations

import functools
import importlib
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar, overload

from sparts import plugins
from sparts.errors import (
    DependencyCycleError,
    SkipTask,
    TaskLoadError,
    UsageError,
    describe,
    log_error,
    message_of,
)
from sparts.established import Registry
from sparts.protocols import TaskReference
from sparts.states import TaskState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from sparts.vservice import VService
    from sparts.vtask import VTask

    Step: TypeAlias = Callable[[str, VTask], None]

_T = TypeVar("_T", bound="VTask")

registered: Registry = Registry()
"""The task classes that `VTask.register` added to every service of this process."""


# -- resolve ---------------------------------------------------------------------------------------


def resolve(reference: TaskReference) -> type[VTask]:
    """Return the task class that a reference means, importing it if need be.

    Raises:
        UsageError: what it names cannot be found or imported, or is not a task type.
    """
    if not isinstance(reference, str):
        return _checked(reference, repr(reference))
    alias, equals, target = reference.rpartition("=")
    if equals:
        return _alias(alias.strip(), resolve(target))
    if ":" in target:
        return _checked(_import(target), repr(reference))
    name, _, distribution = target.strip().partition("@")
    return _checked(plugins.load_task(name, distribution or None), repr(reference))


def _checked(found: Any, what: str) -> type[VTask]:
    needed = ("initTask", "start", "stop", "join", "dependencies")
    if isinstance(found, type) and all(hasattr(found, name) for name in needed):
        return found
    raise TaskLoadError(f"{what} is not a task type: a task is a subclass of sparts.vtask.VTask.")


def _import(target: str) -> Any:
    module, _, attributes = target.strip().partition(":")
    try:
        found: Any = importlib.import_module(module)
        for attribute in attributes.split("."):
            found = getattr(found, attribute)
    except Exception as error:
        cause = describe(error)
        raise TaskLoadError(f"Task {target!r} could not be imported: {cause}") from error
    return found


def _alias(name: str, task: Any) -> type[VTask]:
    if not name.isidentifier():
        raise UsageError(f"{name!r} cannot name a task: use letters, digits and underscores.")
    known = _aliases.get((name, task))
    if known is not None:
        return known
    body = {"OPT_PREFIX": name, "__module__": task.__module__, "__doc__": task.__doc__}
    _aliases[name, task] = made = type(name, (task,), body)
    return made


_aliases: dict[tuple[str, Any], type[VTask]] = {}  # so that a service and its parser mean one class


def resolve_all(references: Iterable[TaskReference]) -> list[type[VTask]]:
    """Return the classes of the references and of all that they depend on, in start order.

    The order is the given one, except that what a task depends on comes before it. A dependency is
    met by the class itself, or else by a subclass that is there.

    Raises:
        UsageError: a reference cannot be resolved, or two tasks have one name.
        DependencyCycleError: tasks depend on each other in a circle.
    """
    return list(resolve_needs(references))


def resolve_needs(references: Iterable[TaskReference]) -> dict[type[VTask], list[type[VTask]]]:
    """Return what `resolve_all` does, each class with those that it depends on directly."""
    chosen: dict[str, type[VTask]] = {}
    for reference in references:
        _add(chosen, resolve(reference))
    needs: dict[type[VTask], list[type[VTask]]] = {}
    pending = list(chosen.values())
    for task in pending:  # grows while it is walked
        needs[task] = []
        for dependency in task.dependencies():
            met = _provider(chosen, dependency)
            if met is None:
                met = resolve(dependency)
                _add(chosen, met)
                pending.append(met)
            needs[task].append(met)
    for task, known in needs.items():
        if followed := tuple(task.follows()):
            known += [t for t in needs if issubclass(t, followed) and t not in (task, *known)]
    return {task: needs[task] for task in _ordered(needs)}


def _add(chosen: dict[str, type[VTask]], task: type[VTask]) -> None:
    known = chosen.setdefault(task.__name__, task)
    if known is not task:
        raise UsageError(
            f"Two tasks are named {task.__name__!r}: {known.__module__}.{known.__qualname__} and "
            f"{task.__module__}.{task.__qualname__}. Give one a name "
            f"of its own: 'other={task.__name__}'."
        )


def _provider(chosen: dict[str, type[VTask]], dependency: TaskReference) -> type[VTask] | None:
    if isinstance(dependency, str) and dependency in chosen:
        return chosen[dependency]
    wanted = resolve(dependency)
    if chosen.get(wanted.__name__) is wanted:
        return wanted
    return next((task for task in chosen.values() if issubclass(task, wanted)), None)


def _ordered(needs: dict[type[VTask], list[type[VTask]]]) -> list[type[VTask]]:
    order: dict[type[VTask], None] = {}
    for root in needs:
        path = {
            root: iter(needs[root])
        }  # the way down to where we are, each with what it still needs
        while path:
            task, rest = next(reversed(path.items()))
            need = next((n for n in rest if n not in order), None)
            if need is None:
                order[task] = None
                del path[task]
            elif need in path:
                names = [t.__name__ for t in path]
                circle = [*names[names.index(need.__name__) :], need.__name__]
                raise DependencyCycleError(f"Tasks depend on each other: {' -> '.join(circle)}.")
            else:
                path[need] = iter(needs[need])
    return list(order)


# -- the collection --------------------------------------------------------------------------------


class Tasks:
    """The tasks of a service in start order: classes before `create`, instances after.

    Read by attribute (``tasks.NAME``), index (position, name or class), `get`, `require`,
    iteration.
    """

    def __init__(self, references: Iterable[TaskReference] = ()) -> None:
        self.task_classes: list[type[VTask]] = resolve_all(references)
        self._tasks: dict[str, VTask] = {}
        self._initialised: list[VTask] = []
        self._started: set[str] = set()
        self._created = False

    def register(self, reference: TaskReference) -> None:
        """Add one more task, and what it depends on; before `create`."""
        self.task_classes = resolve_all([*self.task_classes, reference])

    def register_all(self, references: Iterable[TaskReference]) -> None:
        """Add several tasks, and what they depend on; before `create`."""
        self.task_classes = resolve_all([*self.task_classes, *references])

    def unregister(self, reference: TaskReference) -> None:
        """Take a task class out; before `create`. KeyError if it is not here."""
        found = self.require(_name_or_class(reference))
        self.task_classes = [task for task in self.task_classes if task is not found]

    def remove(self, task: VTask) -> None:
        """Take a task out, after `create`; what was initialised is stopped all the same.

        Call it in ``initService`` or ``initTask``. KeyError if it is not here.
        """
        del self._tasks[self.require(task.name).name]
        if task not in self._initialised:
            task.state = TaskState.SKIPPED
            task.left_out()

    @property
    def tasks(self) -> list[Any]:
        """The tasks in start order: classes before `create`, instances after."""
        return list(self)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._by_name().values())

    def __len__(self) -> int:
        return len(self._by_name())

    def _by_name(self) -> dict[str, Any]:
        if self._created:  # also when every task was left out
            return dict(self._tasks)
        return {task.__name__: task for task in self.task_classes}

    def __contains__(self, task: object) -> bool:
        return isinstance(task, str | type) and self.get(task) is not None

    def __getitem__(self, key: int | str | type[VTask]) -> Any:
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
    def get(self, task: TaskReference) -> Any:
        """Return the task of a name or class (or else the first of a subclass), or None."""
        everything = self._by_name()
        if isinstance(task, str):
            return everything.get(task)
        found = everything.get(task.__name__)
        if found is not None and (found is task or type(found) is task):
            return found
        return next((t for t in everything.values() if _is_a(t, task)), None)

    @overload
    def require(self, task: type[_T]) -> _T: ...
    @overload
    def require(self, task: TaskReference) -> Any: ...
    def require(self, task: TaskReference) -> Any:
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

    def dependencies(self, task: VTask) -> list[VTask]:
        """Return the tasks of this service that a task depends on, or follows, directly."""
        found = [self.get(_name_or_class(need)) for need in type(task).dependencies()]
        if followed := tuple(type(task).follows()):
            found += [t for t in self if isinstance(t, followed) and t is not task]
        return [need for need in dict.fromkeys(found) if need is not None]

    def dependants(self, task: VTask) -> list[VTask]:
        """Return the tasks of this service that depend on a task directly."""
        return [other for other in self if task in self.dependencies(other)]

    # -- the life of the tasks; all of it in the lifecycle thread of the service -------------------

    def create(self, service: VService) -> None:
        """Make an instance of every class, in start order."""
        self._created = True
        for cls in self.task_classes:
            self._tasks[cls.__name__] = cls(service)

    def init(self, step: Step) -> None:
        """Initialise every task in start order, but for those that are held or are initialised.

        What raises `SkipTask` is left out, with what depends on it and sets ``DEPS_OPTIONAL`` to
        False.

        ``step(what, task)`` is called before each and may raise to end the start.
        """
        reasons: dict[str, str] = {}
        for task in self:
            gone = task.name not in self._tasks  # removed meanwhile
            if gone or task.held or task in self._initialised:
                continue
            step("initTask", task)
            task.state = TaskState.STARTING
            try:
                if not task.DEPS_OPTIONAL and (missing := self._missing(task)):
                    why = reasons.get(missing)
                    raise SkipTask(f"{missing}: {why}" if why else f"{missing} is not there")
                _ = task.call_wrappers  # known before anything of the task can be called
                task.service.hooks.call("sparts_task_init", task=task)
            except SkipTask as reason:
                reasons[task.name] = message_of(reason)
                task.logger.warning("%s left out: %s", task.name, reasons[task.name])
                self.remove(task)
                continue
            except BaseException as error:
                task.failed, task.state = error, TaskState.DEAD
                raise
            self._initialised.append(task)

    def _missing(self, task: VTask) -> str:
        """Return the name of a task that ``task`` depends on and that is not here, or ``""``."""
        for need in type(task).dependencies():
            wanted = _name_or_class(need)
            if self.get(wanted) is None:
                return wanted if isinstance(wanted, str) else wanted.__name__
        return ""

    def start(self, step: Step) -> None:
        """Start every task in start order that is not started; ``step`` as in `init`."""
        for task in self:
            if task.held or task.name in self._started:
                continue
            self._started.add(task.name)
            step("start", task)
            task.service.hooks.call("sparts_task_start", task=task)
            task.start_returned()

    def stop(self, step: Step) -> list[tuple[VTask, BaseException]]:
        """Stop what was initialised, in reverse; return what each ``stop()`` and ``join()`` raised.

        Every task is told in reverse start order, but not before all that depend on it have been
        joined. Before that, those that were not initialised end what others wait for.
        """
        for name in self._tasks.keys() - {task.name for task in self._initialised}:
            _attempt(self._tasks[name], self._tasks[name].left_out)
        errors: list[tuple[VTask, BaseException]] = []
        waiting: dict[VTask, None] = {}
        dependants: dict[VTask, list[VTask]] = {}
        for task in self._initialised:
            for need in self.dependencies(task):
                dependants.setdefault(need, []).append(task)

        def join(task: VTask) -> None:
            step("join", task)
            errors.extend(_attempt(task, task.join))
            waiting.pop(task, None)
            step("joined", task)
            ended = TaskState.DEAD if task.failed else TaskState.STOPPED
            errors.extend(_attempt(task, functools.partial(setattr, task, "state", ended)))

        for task in reversed(self._initialised):
            for dependant in dependants.get(task, ()):
                if dependant in waiting:
                    join(dependant)
            step("stop", task)
            stop = functools.partial(task.service.hooks.call, "sparts_task_stop", task=task)
            errors.extend([*_attempt(task, task.stopping), *_attempt(task, stop)])
            waiting[task] = None
        for task in list(waiting):
            join(task)
        self._initialised.clear()
        return errors


def _attempt(task: VTask, action: Callable[[], object]) -> list[tuple[VTask, BaseException]]:
    try:
        action()
    except BaseException as error:
        log_error(task.logger, "%s failed while stopping", task.name)
        return [(task, error)]
    return []


def _is_a(task: Any, wanted: type[Any]) -> bool:
    return issubclass(task, wanted) if isinstance(task, type) else isinstance(task, wanted)


def _name_or_class(reference: TaskReference) -> Any:
    if isinstance(reference, str) and (":" in reference or "@" in reference):
        return resolve(reference)
    return reference
