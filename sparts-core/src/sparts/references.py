"""From references to task classes, with those that they depend on, in start order; and `Tasks`,
the tasks of a service as its code sees them.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar, cast, overload

from sparts import entry_points
from sparts.errors import DependencyCycleError, TaskLoadError, UsageError, describe, nearest
from sparts.established import Registry, TaskReference

if TYPE_CHECKING:
    from sparts.protocols import Task


_T = TypeVar("_T")

registered: Registry = Registry()
"""The task classes that `VTask.register` added to every service of this process."""


def listed(cls: type[Any], attribute: str) -> tuple[TaskReference, ...]:
    """Return the tasks that a class attribute lists.

    Raises:
        UsageError: it is no list, or lists what is neither a class nor a name.
    """
    value: Any = getattr(cls, attribute, ())
    if isinstance(value, str | type | dict | Iterator) or not isinstance(value, Iterable):
        one = repr(value) if isinstance(value, str) else getattr(value, "__name__", "...")
        what = f"is no list of tasks. Write {attribute} = [{one}]"
    elif wrong := [each for each in value if not isinstance(each, str | type)]:
        what = f"lists {wrong[0]!r}, which is neither a task class nor the name of one"
    else:
        return tuple(value)
    raise UsageError(f"{_named(cls, attribute)} {what}.")


def of_class(cls: type[Any]) -> list[type[Any]]:
    """Return the task classes that a service lists itself."""
    names = ("ALL_TASKS", "TASKS")
    return [_resolve_listed(cls, name, each) for name in names for each in listed(cls, name)]


def _resolve_listed(cls: type[Any], attribute: str, reference: TaskReference) -> type[Any]:
    try:
        return resolve(reference)
    except UsageError as error:
        if cls.__module__.startswith("sparts."):
            raise  # `sparts run` has put it together
        end = "" if str(error)[-1:] in ".?" else "."
        raise type(error)(f"{error}{end} See {_named(cls, attribute)}.") from error.__cause__


def resolve(reference: TaskReference) -> type[Any]:
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
    return _checked(entry_points.load_task(name, distribution or None), repr(reference))


def _checked(found: Any, what: str) -> type[Any]:
    needed = ("initTask", "start", "stop", "join", "_dependencies")
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
        cause = f"{describe(error)}{entry_points.module_hint(error)}"
        raise TaskLoadError(f"Task {target!r} could not be imported: {cause}") from error
    return found


def _alias(name: str, task: Any) -> type[Any]:
    if not name.isidentifier():
        raise UsageError(f"{name!r} cannot name a task: use letters, digits and underscores.")
    known = _aliases.get((name, task))
    if known is not None:
        return known
    body = {"OPT_PREFIX": name, "__module__": task.__module__, "__doc__": task.__doc__}
    _aliases[name, task] = made = type(name, (task,), body)
    return made


_aliases: dict[tuple[str, Any], type[Any]] = {}  # so that a service and its parser mean one class


def resolve_all(references: Iterable[TaskReference]) -> list[type[Any]]:
    """Return the classes of the references and of all that they depend on, in start order.

    The order is the given one, except that what a task depends on comes before it. A dependency is
    met by the class itself, or else by another task of a subclass that is there.

    Raises:
        UsageError: a reference cannot be resolved, or two tasks have one name.
        DependencyCycleError: tasks depend on each other in a circle.
    """
    return list(resolve_needs(references))


def resolve_needs(references: Iterable[TaskReference]) -> dict[type[Any], list[type[Any]]]:
    """Return what `resolve_all` does, each class with those that it depends on directly."""
    chosen: dict[str, type[Any]] = {}
    for reference in references:
        _add(chosen, resolve(reference))
    needs: dict[type[Any], list[type[Any]]] = {}
    pending = list(chosen.values())
    for task in pending:  # grows while it is walked
        needs[task] = []
        for dependency in task._dependencies():
            met = _provider(chosen, task, dependency)
            if chosen.get(met.__name__) is not met:
                _add(chosen, met)
                pending.append(met)
            needs[task].append(met)
    for task, known in needs.items():
        if followed := tuple(task._follows()):
            known += [t for t in needs if issubclass(t, followed) and t not in (task, *known)]
    return {task: needs[task] for task in _ordered(needs)}


def _add(chosen: dict[str, type[Any]], task: type[Any]) -> None:
    known = chosen.setdefault(task.__name__, task)
    if known is not task:
        from sparts.places import place_of

        raise UsageError(
            f"Two tasks are named {task.__name__!r}: {known.__module__}.{known.__qualname__} and "
            f"{task.__module__}.{task.__qualname__}. Give one a name "
            f"of its own: 'other={task.__name__}'. See {place_of(known)} and {place_of(task)}."
        )


def _provider(
    chosen: dict[str, type[Any]], task: type[Any], dependency: TaskReference
) -> type[Any]:
    """Return what meets a dependency of a task: of the chosen tasks, if one of them does."""
    if isinstance(dependency, str) and dependency in chosen:
        return chosen[dependency]
    wanted = _resolve_listed(task, "DEPS", dependency)
    if chosen.get(wanted.__name__) is wanted:
        return wanted
    others = (each for each in chosen.values() if not issubclass(each, task))
    return next((each for each in others if issubclass(each, wanted)), wanted)


def _ordered(needs: dict[type[Any], list[type[Any]]]) -> list[type[Any]]:
    order: dict[type[Any], None] = {}
    for root in needs:
        path = {root: iter(needs[root])}  # the way down to here, each with what it still needs
        while path:
            task, rest = next(reversed(path.items()))
            need = next((n for n in rest if n not in order), None)
            if need is None:
                order[task] = None
                del path[task]
            elif need in path:
                circle = [*list(path)[list(path).index(need) :], need]
                names = " -> ".join(each.__name__ for each in circle)
                places = ", ".join(_named(each, "DEPS") for each in circle[:-1])
                raise DependencyCycleError(
                    f"Tasks depend on each other: {names}. Take one of them out: see {places}."
                )
            else:
                path[need] = iter(needs[need])
    return list(order)


def _named(cls: type[Any], attribute: str) -> str:
    from sparts.places import named  # few services have an error

    return named(cls, attribute)


def name_or_class(reference: TaskReference) -> Any:
    """Return what a task is looked up by: a name as it is, what else is named resolved."""
    if isinstance(reference, str) and (":" in reference or "@" in reference):
        return resolve(reference)
    return reference


def selected(classes: list[type[Any]], names: Iterable[str] | None) -> list[type[Any]]:
    """Return the classes that ``--tasks`` asks for; all if it was not given or only lists them."""
    wanted = set(names or ())
    if not wanted:
        return classes
    known = {task.__name__: task for task in classes}
    for name in wanted - known.keys():
        near = nearest(name, known)
        hint = f"Did you mean {near!r}?" if near else f"Its tasks: {', '.join(known) or 'none'}."
        raise UsageError(f"--tasks: this service has no task {name!r}. {hint}")
    return [task for task in classes if task.__name__ in wanted]


# -- the tasks of a service ------------------------------------------------------------------------


class Tasks:
    """The tasks of a service, as its code sees them: classes until they are made, then instances.

    Read by attribute (``tasks.NAME``), index (position, name or class), `get`, `require`,
    iteration, in start order.

    Args:
        references: the task classes, or names of them.
        running: what makes and holds the instances: `sparts.kernel.RunningTasks`.
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
    # a task may have no hash, and may be false
    every = {id(need): need for need in needs if need is not None}
    return [need for need in every.values() if type(need) is not task]


def missing_of(task: Any, tasks: dict[str, Any]) -> str:
    """Return the name of a task that ``task`` depends on and that is not here, or ``""``."""
    for wanted in map(name_or_class, task._dependencies()):
        if find(tasks, wanted) is None:
            return wanted if isinstance(wanted, str) else str(wanted.__name__)
    return ""
