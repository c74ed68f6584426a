"""Work of a base class that is done also if an override does not call ``super()``.

Services override `initTask`, `start` or `start_in_loop` and forget ``super()``: then a server would
listen nowhere, without a word. So what such a method of sparts does is done in any case: where the
override calls ``super()``, else right after the override has returned; `stop` and `join` also if it
has raised. `base_work` marks methods of others' task types for the same.
"""

from __future__ import annotations

import functools
from types import FunctionType
from typing import TYPE_CHECKING, Any

from sparts.errors import refuse_coroutine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import TypeVar

    # Not at run time: a bound that is a string is compiled, which makes all classes of `ast`.
    F = TypeVar("F", bound=Callable[..., Any])

_PLAIN = ("initTask", "start", "stop", "join", "check", "check_options", "on_options_changed",
          "on_dependency_restarted")  # fmt: skip
"""Methods that are never awaited."""
_names = {*_PLAIN, "start_in_loop", "stop_in_loop"}
"""Methods that are marked wherever a class of sparts has them, and those that `base_work` adds."""


def base_work(method: F) -> F:
    """Have a method called also if an override of it does not; the override may be ``async``."""

    @functools.wraps(method)
    def noting(self: Any, *args: Any, **kwargs: Any) -> Any:
        self.__dict__.setdefault("_base_work_done", set()).add(method.__name__)
        return method(self, *args, **kwargs)

    noting.__dict__["__base_work__"] = True
    _names.add(method.__name__)
    return noting  # type: ignore[return-value]


def must_override(method: F) -> F:
    """Mark a method that each task must write: a service with a task without it does not start.

    `abc.abstractmethod` has the same effect, and type checkers take the class for abstract.
    """
    method.__isabstractmethod__ = True  # type: ignore[attr-defined]
    return method


def keep_base_work(cls: Any) -> None:
    """Have the marked methods called that a class, or a class mixed into it, overrides."""
    theirs = [base for base in cls.__mro__ if not _is_ours(base)]
    for name in {name for base in theirs for name in _names & vars(base).keys()}:
        _mark(cls, name)
        versions = _versions(cls, name)
        newest: Any = next(versions, None)
        unmarked = callable(newest) and not hasattr(newest, "__base_work__")
        if unmarked and (marked := next(filter(_is_marked, versions), None)):
            setattr(cls, name, _completed(newest, marked))


def marked_methods(cls: type[Any]) -> list[str]:
    """Return the names of the methods of a class that are marked, and not overridden since."""
    for name in _names:
        _mark(cls, name)
    return sorted(name for name in _names if _is_marked(next(_versions(cls, name), None)))


def _mark(cls: type[Any], name: str) -> None:
    """Mark a method wherever a class of sparts has it: only now, as few are ever overridden."""
    for base in filter(_is_ours, cls.__mro__):
        found: Any = vars(base).get(name)
        if isinstance(found, FunctionType) and not hasattr(found, "__base_work__"):
            setattr(base, name, base_work(found))


def _is_ours(base: type[Any]) -> bool:
    return base.__module__[:7] == "sparts."


def _versions(cls: type[Any], name: str) -> Iterator[Any]:
    """Give what the classes of a class make of a name, the newest first."""
    return (vars(base)[name] for base in cls.__mro__ if name in vars(base))


def unwrapped(method: Any) -> Any:
    """Return a method as its class wrote it."""
    while hasattr(method, "__base_work__"):
        method = method.__wrapped__
    return method


def _is_marked(found: Any) -> bool:
    return getattr(found, "__base_work__", False) is True


def _completed(override: Callable[..., Any], marked: Callable[..., Any]) -> Callable[..., Any]:
    """Return an override that calls the marked method itself, unless that was called by then."""
    name = marked.__name__

    @functools.wraps(override)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        done: set[str] = self.__dict__.setdefault("_base_work_done", set())
        done.discard(name)
        bound: Any = override.__get__(self) if hasattr(override, "__get__") else override
        try:
            result = bound(*args, **kwargs)
        except BaseException:
            if name in ("stop", "join") and name not in done:  # the service goes on to the end
                marked(self, *args, **kwargs)
            raise
        if hasattr(result, "__await__") and name not in _PLAIN:
            return complete_later(self, result, args, kwargs)
        whole = result if name in done else marked(self, *args, **kwargs)
        refuse_coroutine(result, type(self).__name__, name)
        return whole

    async def complete_later(self: Any, result: Any, args: Any, kwargs: Any) -> Any:
        value = await result
        if name not in self._base_work_done:
            rest = marked(self, *args, **kwargs)
            return await rest if hasattr(rest, "__await__") else rest
        return value

    call.__dict__["__base_work__"] = False
    return call
