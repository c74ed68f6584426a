"""Refuses what a class overrides in vain: methods of the wrong kind, and misspelt names.

Each class of a service and of its tasks is compared with the bases that it overrides something of,
whether they are ours or a third party's. What would silently never run ends the start with status
2. What may well be meant otherwise is a warning. ``SPARTS_ALLOW_NAMES = ("name", ...)`` on a class
accepts names as they are.
"""

from __future__ import annotations

from functools import lru_cache
from types import FunctionType
from typing import TYPE_CHECKING, Any, NamedTuple

from sparts.errors import UsageError
from sparts.hookspecs import hookimpl
from sparts.shown import ours
from sparts.vservice import VService
from sparts.vtask import VTask

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


class Problem(NamedTuple):
    """An attribute of a class that does not do what it was written for."""

    owner: type
    name: str
    text: str
    """What is wrong and what to do, as the rest of a sentence that begins with the name."""
    error: bool = True
    """Whether the service is refused; otherwise it is a warning."""

    def __str__(self) -> str:
        from sparts.builtin.overrides.places import place_of  # here, because few need it

        place = place_of(self.owner, self.name)
        return f"{self.owner.__name__}.{self.name} ({place}) {self.text}"


@hookimpl
def sparts_classes_check(service_class: type[VService], tasks: Sequence[type[VTask]]) -> None:
    """Refuse a service with errors in its classes."""
    found = find_problems(service_class, tasks)
    errors = [str(problem) for problem in found if problem.error]
    if errors:
        raise UsageError(" ".join(errors))


@hookimpl
def sparts_service_create(service: VService) -> None:
    """Log what is no error, and probably not meant."""
    for problem in find_problems(type(service), ours(service).tasks.task_classes):
        if not problem.error:
            ours(service).logger.warning("%s", problem)


@hookimpl(tryfirst=True)
def sparts_task_start(task: VTask) -> None:
    """Refuse a task with threads that have nothing to run."""
    cls = type(task)
    if ours(task).LOOPLESS or not ours(task).workers or "_runloop" in vars(task):
        return
    if cls._runloop is VTask._runloop:
        what = (
            "is missing: the task's thread has nothing to run. Write `def _runloop(self)`, which "
            "returns when `self.stop_event` is set. Or derive from PeriodicTask, QueueTask or "
            "AsyncioTask. Or set LOOPLESS = True if the task needs no thread."
        )
        raise UsageError(str(Problem(cls, "_runloop", what)))


def find_problems(
    service_class: type[VService] | None, tasks: Sequence[type[VTask]]
) -> Sequence[Problem]:
    """Return what is wrong with the classes of a service and of tasks, each once."""
    cached: Any = _find_problems
    found: list[Problem] = cached(service_class, tuple(tasks))
    return found


@lru_cache(maxsize=1)  # both hooks ask
def _find_problems(service_class: Any, tasks: tuple[Any, ...]) -> list[Problem]:
    found: dict[tuple[type, str], Problem] = {}
    for cls in (*([service_class] if service_class else ()), *tasks):
        for problem in _problems_of(cls, tasks if cls is service_class else ()):
            found.setdefault((problem.owner, problem.name), problem)
    return list(found.values())


def _problems_of(cls: type, tasks: Sequence[type[VTask]]) -> Iterator[Problem]:
    """Give what is wrong with one class, which may set class attributes for ``tasks``."""
    mro = cls.__mro__
    allowed: set[str] = set()
    for owner in mro:
        names = vars(owner).get("SPARTS_ALLOW_NAMES", ())
        allowed.update([names] if isinstance(names, str) else names)
    for at, owner in enumerate(mro):
        if _is_ours(owner) or not _belongs(owner, cls):
            continue
        bases = [base for base in mro[at + 1 :] if _is_ours(base) or _is_framework(base)]
        for name, value in list(vars(owner).items()):
            if name in allowed or not bases:
                continue
            known = any(name in vars(base) for base in bases) and not _means_tasks(name, value)
            if known and isinstance(value, FunctionType | staticmethod | classmethod):
                from sparts.builtin.overrides import signatures  # not imported for bare services

                earlier = any(name in vars(each) for each in mro[:at])
                text = None if earlier else signatures.compare(mro, at, name, value, bases)
                error = True
            elif known or name.startswith("__") or any(hasattr(task, name) for task in tasks):
                continue
            else:
                from sparts.builtin.overrides import spelling

                text, error = spelling.check(cls, owner, name, value, bases, tasks)
            if text:
                yield Problem(owner, name, text, error)


def _means_tasks(name: str, value: Any) -> bool:
    """Tell whether ``tasks`` of a service is a list of its tasks, and no property."""
    return name == "tasks" and isinstance(value, (list, tuple))


def _is_ours(cls: type) -> bool:
    return cls.__module__.startswith("sparts.")


def _is_framework(cls: type) -> bool:
    return issubclass(cls, (VTask, VService))


def _belongs(owner: type, cls: type[Any]) -> bool:
    """Return whether a base is by who wrote the class, or a task or service: no mixin of others."""
    same = owner.__module__.partition(".")[0] == cls.__module__.partition(".")[0]
    return same or _is_framework(owner)
