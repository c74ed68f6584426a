"""Refuses what a class overrides without effect: methods of the wrong kind, and misspelt names.

Each class of a service and of its tasks is compared with the bases that it overrides something of,
whether they are ours or a third party's. What would silently never run ends the start with status
2. What may well be meant otherwise is a warning. So is an environment variable whose name is one
letter away from one that is read, or that a distribution would read which is not installed, and a
plugin to be kept out whose name is one letter away from one that is there.
``SPARTS_ALLOW_NAMES = ("name", ...)`` on a class accepts names as they are.
"""

from __future__ import annotations

import os
from functools import lru_cache
from types import FunctionType
from typing import TYPE_CHECKING, Any

from sparts.base_work import unwrapped
from sparts.entry_points import kept_out_names
from sparts.errors import UsageError
from sparts.hookspecs import hookimpl
from sparts.options import Option
from sparts.options.binding import env_prefix
from sparts.shown import ours, shown
from sparts.startup import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from sparts.vservice import VService
    from sparts.vtask import VTask

# Each start asks this module: what only a doubtful attribute needs is imported for that one.
PRIVATE = ("_runloop", "_addArguments", "_makeQueue", "_makeProcessor", "_makeArgumentParser")
"""Methods that are there to be overridden although their names begin with an underscore."""
_NO_TYPE = tuple("[{0123456789")
_METHODS = (FunctionType, staticmethod, classmethod)
_FORM = 0x04 | 0x20 | 0x80 | 0x100 | 0x200  # flags of code: *args, generator, coroutine


class Problem(NamedTuple):
    """An attribute of a class that does not do what it was written for."""

    owner: type
    name: str
    text: str
    """What is wrong and what to do, as the rest of a sentence that begins with the name."""
    error: bool = True
    """Whether the service is refused; otherwise it is a warning."""

    def __str__(self) -> str:
        from sparts.places import place_of

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
    prefixes = ("SPARTS_", env_prefix(type(service)) or "SPARTS_")
    names = [name for name in os.environ if name.upper().startswith(prefixes)]
    if names or kept_out_names():
        from sparts.builtin.overrides.spelling import misspelt

        for text in misspelt(names, service):
            ours(service).logger.warning("%s", text)


@hookimpl
def sparts_service_check(service: VService) -> None:
    """Refuse in a dry run what the start would refuse."""
    for task in ours(service).tasks:
        sparts_task_start(task)


@hookimpl(tryfirst=True)
def sparts_task_start(task: VTask) -> None:
    """Refuse a task without a method that it needs, such as `execute`."""
    cls = type(task)
    if _is_ours(cls) or not ours(task).workers:
        return
    for name, base in _to_write(cls).items():
        loop = name == "_runloop"
        if name in vars(task) or (loop and ours(task).LOOPLESS):
            continue
        from sparts.builtin.overrides.signatures import form

        kind = next(filter(_is_ours, cls.__mro__)) if _is_ours(base) else base  # as it is known
        what = f"is missing: {kind.__name__} has nothing to do without it. Write {form(base, name)}"
        if loop:
            what += (
                ", which returns when `self.stop_event` is set. Or derive from PeriodicTask, "
                "QueueTask or AsyncioTask. Or set LOOPLESS = True if the task needs no thread"
            )
        raise UsageError(f"{Problem(cls, name, what)}.")


def _to_write(cls: type) -> dict[str, type]:
    """Return the methods that a task type leaves to be written, and whose they are."""
    found: dict[str, type] = {}
    for base in cls.__mro__:
        if "_runloop" in vars(base) and not _is_ours(base):
            break  # it may call others
        for name in _abstract_in(base):
            if getattr(getattr(cls, name), "__isabstractmethod__", False):
                found.setdefault(name, base)
    return found


@lru_cache(maxsize=256)
def _abstract_in(base: Any) -> list[str]:
    named = vars(base).items()
    return [each for each, value in named if getattr(value, "__isabstractmethod__", False) is True]


def find_problems(service_class: Any, tasks: Sequence[Any]) -> list[Problem]:
    """Return what is wrong with the classes of a service and of tasks, each once."""
    return _find_problems(service_class, tuple(tasks))


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
        for name, found in list(vars(owner).items()) if bases else ():
            value = unwrapped(found) if isinstance(found, FunctionType) else found
            if (name[:2] == "__" and name != "__init__") or name in allowed:
                continue
            text, error = None, True
            base = next((each for each in bases if name in each.__dict__), None)
            # ``tasks`` of a service may be a list of its tasks, and no property
            if base is None or (name == "tasks" and isinstance(value, list | tuple)):
                if _is_doubtful(name, value, bases) and not any(
                    hasattr(task, name) for task in tasks
                ):
                    text, error = _check_name(cls, owner, name, value, bases, tasks)
            elif any(name in vars(each) for each in mro[:at]):
                continue
            elif not isinstance(value, _METHODS):
                text, error = _check_value(base, name, value), _is_ours(base)
            elif name[0] == "_" and name != "__init__" and name not in PRIVATE:
                continue
            elif not _is_ours(base) or not _has_form(name, value, vars(base)[name]):
                from sparts.builtin.overrides import signatures

                text = signatures.compare(mro, at, name, value, bases)
            if text:
                yield Problem(owner, name, text, error)
        yield from _only_annotated(owner, bases, allowed)


def _only_annotated(owner: type, bases: list[type], allowed: set[str]) -> Iterator[Problem]:
    """Give attributes such as ``INTERVAL: 5``, which has a colon where ``=`` was meant."""
    for name, value in vars(owner).get("__annotations__", {}).items():
        if not isinstance(value, int | float | list | tuple) and str(value)[:1] not in _NO_TYPE:
            continue
        if name in vars(owner) or name in allowed:
            continue
        if any(name in vars(base) for base in bases):
            yield Problem(owner, name, f"is annotated, and has no value. Write `{name} = ...`.")


def _check_name(
    cls: type, owner: type, name: str, value: Any, bases: list[type], tasks: Iterable[type]
) -> tuple[str | None, bool]:
    """Return what is wrong with a name that no base has, and whether that is an error."""
    from sparts.builtin.overrides import spelling

    if (advice := _gone(name, bases)) is not None:
        return spelling.gone(cls, name, advice), True
    others = _pairs(base for task in tasks for base in task.__mro__)
    return spelling.check(cls, owner, name, value, _pairs(bases), others)


def _check_value(base: type, name: str, value: Any) -> str | None:
    """Return what is wrong with the value of an attribute that a base has, too."""
    declared, is_option = vars(base)[name], isinstance(value, Option)
    if is_option and isinstance(declared, shown) and name not in getattr(base, "_settable", ()):
        return f"hides what sparts has of that name. Write `own_{name} = option({name!r})`."
    odd = isinstance(value, property | Option) or not (callable(value) or hasattr(value, "__get__"))
    if odd and isinstance(declared, _METHODS) and (name[0] != "_" or name in PRIVATE):
        return f"is no method, and {base.__name__} calls it. Write `def {name}`."
    annotation = vars(base).get("__annotations__", {}).get(name)
    if annotation is None or name.startswith("_") or hasattr(type(vars(base)[name]), "__get__"):
        return None
    text = str(annotation)
    if text.startswith("ClassVar["):
        text = text[len("ClassVar[") : -1]
    negative = type(value) in (int, float) and value < 0
    if "[" not in text and type(value).__name__ in text.split(" | ") and not negative:
        return None
    if text.startswith("Sequence[") and not isinstance(value, str):  # see `references.listed`
        return None
    from sparts.builtin.overrides import values

    return values.check(base, name, value)


def _has_form(name: str, mine: Any, base: Any) -> bool:
    """Return whether a function can surely be called as the one it overrides."""
    mine, base = unwrapped(mine), unwrapped(base)
    if not isinstance(mine, FunctionType) or not isinstance(base, FunctionType):
        return False
    code, other = mine.__code__, base.__code__
    if code.co_kwonlyargcount or ((code.co_flags | other.co_flags) & 0x04):
        return False
    least = code.co_argcount - len(mine.__defaults__ or ())
    fewest = 0 if name == "execute" else other.co_argcount - len(base.__defaults__ or ())
    fits = least <= other.co_argcount and code.co_argcount >= fewest and name != "__init__"
    return fits and not (code.co_flags ^ other.co_flags) & _FORM


def _is_doubtful(name: str, value: Any, bases: Sequence[type]) -> bool:
    """Return whether a name that no base has may be meant for one of theirs."""
    folded = name.replace("_", "").lower()
    if name.isupper() or any(folded in _folded_of(base) for base in bases):
        return True
    if _gone(name, bases) is not None:
        return True
    head, tail, size = folded[:3], folded[-3:], len(folded)
    return isinstance(value, FunctionType) and any(
        -2 < len(each) - size < 2 and (each[:3] == head or each[-3:] == tail)
        for base in bases
        for each in _folded_of(base)
    )


def _gone(name: str, bases: Iterable[Any]) -> str | None:
    """Return what to write in place of a method that sparts 0.7 called; None: it is no such."""
    return next((base._GONE[name] for base in bases if name in vars(base).get("_GONE", ())), None)


def _pairs(bases: Iterable[type]) -> list[tuple[type, str]]:
    """Return the classes with each name that they document."""
    return [(base, name) for base in bases for name in dict.fromkeys(_names_of(base))]


def _names_of(cls: Any) -> list[str]:
    """Return the names that a class documents to be overridden."""
    names = (*vars(cls), *vars(cls).get("__annotations__", ())) if cls is not object else ()
    return [name for name in names if name[0] != "_" or name in PRIVATE]


@lru_cache(maxsize=256)
def _folded_of(cls: Any) -> set[str]:
    return set(" ".join(_names_of(cls)).replace("_", "").lower().split())


def _is_ours(cls: type) -> bool:
    return cls.__module__.startswith("sparts.")


def _is_framework(cls: type) -> bool:
    return any(base.__module__ in ("sparts.vtask", "sparts.vservice") for base in cls.__mro__)


def _belongs(owner: type, cls: type[Any]) -> bool:
    """Return whether a base is by who wrote the class, or a task or service: no mixin of others."""
    same = owner.__module__.partition(".")[0] == cls.__module__.partition(".")[0]
    return same or _is_framework(owner)
