"""Compares a method with the one that it overrides: async or not, generator, parameters."""

from __future__ import annotations

from math import inf
from types import FunctionType
from typing import Any, NamedTuple

from sparts import entry_points
from sparts.base_work import unwrapped
from sparts.vservice import VService
from sparts.vtask import VTask

FEWER = {"execute": 0, "fetch": 1}
"""Methods that may leave parameters out (see `sparts.tasks.forms`), and how many they may have."""
RUNNERS = ("_runloop", "run", "_work")
"""Who overrides one of these may call other methods as it likes."""

_VARARGS = 0x04  # the flags of code objects, without the import of inspect
_GENERATOR, _COROUTINE, _ASYNC_GENERATOR = 0x20, 0x80 | 0x100, 0x200
_NAMES = {
    "coroutine": "a coroutine function (`async def`)",
    "generator": "a generator function (it has a `yield`)",
    "async generator": "an asynchronous generator function (`async def` with a `yield`)",
    "plain": "a plain function",
}


class _Method(NamedTuple):
    """A function as an attribute of a class."""

    function: Any
    bound: bool
    """Whether the first parameter is the object or the class."""

    @property
    def kind(self) -> str:
        flags = self.function.__code__.co_flags
        if flags & _ASYNC_GENERATOR:
            return "async generator"
        if flags & _COROUTINE:
            return "coroutine"
        return "generator" if flags & _GENERATOR else "plain"

    @property
    def returns(self) -> str:
        """The annotation of what it returns, as text."""
        return str(self.function.__annotations__.get("return", ""))

    @property
    def arity(self) -> tuple[int, float]:
        """How many positional arguments it takes at least and at most, without ``self``."""
        code = self.function.__code__
        most = code.co_argcount - self.bound
        least = max(0, most - len(self.function.__defaults__ or ()))
        return least, inf if code.co_flags & _VARARGS else max(0, most)

    @property
    def keywords(self) -> list[str]:
        """The names of keyword-only parameters without a default."""
        code = self.function.__code__
        names = code.co_varnames[code.co_argcount :][: code.co_kwonlyargcount]
        return [name for name in names if name not in (self.function.__kwdefaults__ or {})]

    def shown(self, name: str) -> str:
        """How it is written."""
        names = self.function.__code__.co_varnames[: self.function.__code__.co_argcount]
        word = "async def" if self.kind == "coroutine" else "def"
        return f"`{word} {name}({', '.join(names)})`"


def compare(mro: tuple[type, ...], at: int, name: str, value: Any, bases: list[type]) -> str | None:
    """Return what is wrong with ``name``, which the class at a place overrides; None: nothing.

    Args:
        mro: the classes of a task or service, the newest first.
        at: the place of the class that overrides.
        name: the attribute.
        value: what the class has under that name.
        bases: the classes after it that are tasks, services or parts of them.
    """
    owner, mine = mro[at], _method(value)
    base = next((each for each in bases if name in vars(each) and _foreign(each, owner)), None)
    if base is None or mine is None or (declared := _method(vars(base)[name])) is None:
        return None
    given = next(each for each in bases if _foreign(each, owner))
    between = [each for each in mro[at : mro.index(base)] if not _foreign(each, owner)]
    calls = any(runner in vars(each) for each in between for runner in RUNNERS)
    if calls and not hasattr(VTask, name) and name not in RUNNERS:
        return None
    if problem := _called_on(value, vars(base)[name], mine, given):
        return problem
    if name != "__init__" and not _fits(mine, declared, name, mro):
        kinds = (mine.kind, declared.kind)
        then = "awaits it" if kinds[1] == "coroutine" else "calls it as a plain one"
        lost = "" if kinds[0] == "plain" else ": it would never run"
        what = f"is {_NAMES[kinds[0]]}, but {given.__name__} {then}{lost}."
        return f"{what} {_remedy(given, name, kinds)}"
    problem = _compare_parameters(mine, declared, name, given)
    if not problem and name == "__init__" and name not in mine.function.__code__.co_names:
        argument = declared.function.__code__.co_varnames[1]
        return f"does not call that of {given.__name__}. Add `super().__init__({argument})`."
    return problem


def _called_on(value: Any, declared: Any, mine: _Method, given: type) -> str | None:
    """Return what is wrong if a method is one of the class, or static, and would miss the task."""
    if isinstance(value, classmethod) and isinstance(declared, FunctionType):
        called = f"but {given.__name__} calls it on the object, which it would not get"
        return f"is a class method, {called}. Remove `@classmethod`."
    if isinstance(value, staticmethod) and mine.function.__code__.co_varnames[:1] == ("self",):
        return "is a static method, which does not get the object. Remove `@staticmethod`."
    return None


def form(base: type, name: str) -> str:
    """Return how a method of a base is written."""
    method = _method(vars(base)[name])
    return f"`def {name}`" if method is None else method.shown(name)


def _foreign(base: type, owner: type) -> bool:
    """Return whether a base is somebody else's: who wrote both knows how one calls the other."""
    return package_of(base) != package_of(owner)


def package_of(cls: type) -> str:
    """Return the top-level package, or module, of a class."""
    return cls.__module__.partition(".")[0]


def _method(value: Any) -> _Method | None:
    """Return the function behind an attribute, unless it is none or nobody can know."""
    bound = not isinstance(value, staticmethod)
    function = unwrapped(value.__func__ if isinstance(value, staticmethod | classmethod) else value)
    return _Method(function, bound) if isinstance(function, FunctionType) else None


def _fits(mine: _Method, declared: _Method, name: str, mro: tuple[type, ...]) -> bool:
    """Return whether who calls the method of the base can call this one: async or not."""
    kind, expected = mine.kind, declared.kind
    either = any(name in vars(cls).get("MAY_BE_ASYNC", ()) for cls in mro)
    if kind == expected or (either and kind in ("plain", "coroutine")):
        return True
    if kind == "plain":  # what returns the right thing is right, whatever it is
        decorated = hasattr(mine.function, "__wrapped__") or mine.function.__code__.co_name != name
        awaitable = any(word in mine.returns for word in ("Awaitable", "Coroutine", "Future"))
        return expected != "coroutine" or decorated or awaitable
    if expected == "plain":
        words = {"coroutine": ("Awaitable", "Coroutine"), "generator": ("Iter", "Generator")}
        ours = declared.function.__module__.startswith("sparts.")
        told = any(word in declared.returns for word in words.get(kind, ("Async",)))
        return told and not (ours and kind == "coroutine")  # ours say it by MAY_BE_ASYNC
    return False


def _compare_parameters(mine: _Method, declared: _Method, name: str, given: type) -> str | None:
    least, most = declared.arity
    if name in FEWER:
        least, most = 0, max(most, FEWER[name])
    takes = mine.arity
    if name == "__init__":
        most = least
    if takes[0] > most or takes[1] < least:
        passed = _numbers(*declared.arity)
        what = f"takes {_numbers(*takes)}, but {given.__name__} calls it with {passed}"
    elif mine.keywords and not declared.keywords:
        what = f"needs {', '.join(mine.keywords)}, which {given.__name__} does not pass"
    else:
        return None
    return f"{what}. Write {declared.shown(name)}."


def _numbers(least: int, most: float) -> str:
    if most == inf:
        return f"{least} or more arguments" if least else "any number of arguments"
    if most == 0:
        return "no argument"
    if least == most:
        return "1 argument" if most == 1 else f"{least} arguments"
    return f"{least} to {most:g} arguments"


def _remedy(given: type, name: str, kinds: tuple[str, str]) -> str:
    """Return what to do about a method of the wrong kind."""
    kind, expected = kinds
    called = given.__name__
    if expected == "coroutine":
        twin = called.removeprefix("Async")
        other = f", or derive from {twin}" if twin != called and _is_known(twin) else ""
        return f"Write `async def {name}`{other}."
    if kind != "coroutine":
        return f"Write `def {name}` without `yield`."
    if name == "_runloop":
        return "Derive from AsyncioTask, and name it `run`."
    if issubclass(given, VService):
        return f"Write `def {name}`."
    if hasattr(VTask, name):
        todo = "What must be awaited belongs in `start_in_loop` of an AsyncioTask"
        return f"Write `def {name}`. {todo}."
    if _is_known(f"Async{called}"):
        return f"Derive from Async{called} instead."
    return (
        f"No Async{called} exists. Write `def {name}`. To await something in it, add "
        f'"AsyncioLoopTask" to DEPS, and use '
        f'`self.service.requireTask("AsyncioLoopTask").call(FUNCTION).result()`.'
    )


def _is_known(task: str) -> bool:
    """Return whether somebody provides a task of a name."""
    tasks = entry_points.TASKS
    found = {entry.name for entry in entry_points.find(tasks)}
    return task in found | entry_points.known_providers(tasks).keys()
