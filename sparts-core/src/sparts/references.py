"""From references to task classes, with those that they depend on, in start order."""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from typing import Any

from sparts import entry_points
from sparts.errors import DependencyCycleError, TaskLoadError, UsageError, describe, nearest
from sparts.established import Registry, TaskReference

registered: Registry = Registry()
"""The task classes that `VTask.register` added to every service of this process."""


def listed(cls: type[Any], attribute: str) -> tuple[TaskReference, ...]:
    """Return the tasks that a class attribute lists.

    Raises:
        UsageError: it is no list, or lists what is neither a class nor a name.
    """
    value: Any = getattr(cls, attribute, ())
    if isinstance(value, str | type | dict) or not isinstance(value, Iterable):
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
    met by the class itself, or else by a subclass that is there.

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
    return next((each for each in chosen.values() if issubclass(each, wanted)), wanted)


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
