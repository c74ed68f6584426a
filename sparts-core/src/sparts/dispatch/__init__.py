"""Hooks: marks them, and calls plugins by them with pluggy's semantics and without its import.

Importing pluggy costs more time than the whole start of a bare service. So this serves as long as
no other distribution's hook plugin is installed, and `through_pluggy` otherwise. One test
suite of hook semantics runs against both.

https://pluggy.readthedocs.io/en/stable/#calling-hooks describes the semantics: the last registered
implementation is called first, ``tryfirst`` and ``trylast`` change that, a wrapper is a generator
around the others, and a ``firstresult`` hook ends with the first result that is not None.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterable, Mapping
from types import FunctionType, MappingProxyType, MethodType, ModuleType
from typing import TYPE_CHECKING, Any, TypeVar, overload

from sparts.errors import PluginError, UsageError, code_flags, describe
from sparts.startup import NamedTuple

if TYPE_CHECKING:
    Function = Callable[..., Any]


SPECIFICATION = "sparts_spec"
IMPLEMENTATION = "sparts_impl"
"""The attributes in which pluggy keeps the marks of the project named sparts."""

_F = TypeVar("_F")


def hookspec(
    *, firstresult: bool = False, warn_on_impl: Warning | None = None
) -> Callable[[_F], _F]:
    """Mark a function as a specification, as ``pluggy.HookspecMarker("sparts")`` does.

    Args:
        firstresult: whether a call ends with the first result that is not None.
        warn_on_impl: what pluggy warns of when a plugin implements it.
    """
    marks = {"firstresult": firstresult, "warn_on_impl": warn_on_impl}
    marks |= {"historic": False, "warn_on_impl_args": None}

    def mark(function: Any) -> Any:
        specifications[function.__name__] = function
        return _mark(function, SPECIFICATION, marks)

    return mark


@overload
def hookimpl(function: _F) -> _F: ...
@overload
def hookimpl(
    *, wrapper: bool = ..., tryfirst: bool = ..., trylast: bool = ..., specname: str | None = ...
) -> Callable[[_F], _F]: ...
def hookimpl(
    function: Any = None,
    *,
    wrapper: bool = False,
    tryfirst: bool = False,
    trylast: bool = False,
    specname: str | None = None,
) -> Any:
    """Mark a function of a plugin as an implementation, as ``pluggy.HookimplMarker("sparts")``
    does.

    Args:
        function: the function, when this is used without parentheses.
        wrapper: whether it is a generator that runs around the other implementations.
        tryfirst: whether it runs as early as possible.
        trylast: whether it runs as late as possible.
        specname: the name of the hook, if the function has another.
    """
    marks: dict[str, Any] = {"wrapper": wrapper, "hookwrapper": False, "optionalhook": False}
    marks |= {"tryfirst": tryfirst, "trylast": trylast, "specname": specname}
    mark = functools.partial(_mark, attribute=IMPLEMENTATION, marks=marks)
    return mark if function is None else mark(function)


def _mark(function: Any, attribute: str, marks: dict[str, Any]) -> Any:
    setattr(function, attribute, marks)
    return function


specifications: dict[str, Function] = {}
"""The specification of each hook."""


class Implementation(NamedTuple):
    """One plugin's function for one hook."""

    plugin: object
    name: str
    """The name of the plugin."""
    function: Function
    parameters: tuple[str, ...]
    """Which arguments of the hook it takes."""
    order: int
    """1 for ``tryfirst``, -1 for ``trylast``, else 0."""
    wrapper: bool

    def __call__(self, arguments: Mapping[str, Any]) -> Any:
        """Call the function with those of the arguments that it takes."""
        return self.function(*[arguments[name] for name in self.parameters])


class Hooks:
    """Registers hook plugins and calls hooks by name. Safe for threads.

    Plugins are modules or objects with functions that carry `sparts.hookspecs.hookimpl`.

    Args:
        plugins: the first plugins, by name.

    Raises:
        PluginError: one of them is wrong; the message names it.
    """

    def __init__(self, plugins: Mapping[str, object] = MappingProxyType({})) -> None:
        self.tolerant = False
        """Whether `collect` leaves out what is broken and notes it: for ``-h``."""
        self.broken: list[UsageError] = []
        """What is wrong with plugins that were left out."""
        self.kept: dict[str, Any] = {}
        """What plugins keep of a service, each under its name, also over a restart."""
        self._changing = threading.Lock()
        self._plugins: dict[str, object] = {}
        self._callers: dict[str, tuple[Implementation, ...]] = {}  # in the order of calls
        for name, plugin in plugins.items():
            self.register(plugin, name)

    def copy(self) -> Hooks:
        """Return hooks with the same plugins, which keep nothing yet."""
        copy = Hooks()
        copy._plugins, copy._callers = dict(self._plugins), dict(self._callers)
        return copy

    # -- to register -------------------------------------------------------------------------------

    def register(self, plugin: object, name: str | None = None) -> None:
        """Add a plugin; from any thread. Calls that are under way do not reach it.

        Args:
            plugin: a module or an object with functions marked by `sparts.hookspecs.hookimpl`.
            name: what messages call it; None: its own name, or that of its class.

        Raises:
            PluginError: it implements no hook, or one that does not exist or has other parameters;
                or it is registered already.
        """
        name = name or name_of(plugin)
        found = implementations(plugin, name)
        with self._changing:
            if any(known is plugin for known in self._plugins.values()) or name in self._plugins:
                raise PluginError(f"Hook plugin {name} is registered already.")
            self._plugins[name] = plugin
            for hook, implementation in found:
                self._callers[hook] = _inserted(self._callers.get(hook, ()), implementation)

    def unregister(self, plugin: object) -> None:
        """Remove a plugin; from any thread. Nothing happens if it is not registered."""
        with self._changing:
            self._plugins = {n: known for n, known in self._plugins.items() if known is not plugin}
            for hook, callers in self._callers.items():
                self._callers[hook] = tuple(c for c in callers if c.plugin is not plugin)

    # -- to call -----------------------------------------------------------------------------------

    def call(self, hook: str, /, **arguments: Any) -> Any:
        """Call a hook; returns its results, or its first result where the specification says so."""
        first = getattr(specifications[hook], SPECIFICATION)["firstresult"]
        return _call(self.callers(hook), arguments, first)

    def notify(self, hook: str, /, **arguments: Any) -> list[tuple[str, BaseException]]:
        """Call a hook that only observes, each implementation by itself: one that fails stops no
        other.

        Returns:
            The name of each plugin that failed, and what it raised.
        """
        failures: list[tuple[str, BaseException]] = []
        for caller in self.callers(hook):
            try:
                _call((caller,), arguments, first=False)
            except BaseException as error:
                failures.append((caller.name, error))
        return failures

    def collect(
        self, hook: str, convert: Callable[[Any], Any] | None = None, /, **arguments: Any
    ) -> list[Any]:
        """Return what all plugins contribute by a hook: items of a list, or pairs of a mapping.

        Implementations are asked one by one, so that an error names the plugin that it comes from.

        Args:
            hook: the name of the hook.
            convert: called with each item, whose result is returned in its place.
            arguments: those of the hook.

        Raises:
            PluginError: a plugin or ``convert`` raised; the message names the plugin.
        """
        found: list[Any] = []
        for caller in self.callers(hook):
            try:
                for result in _call((caller,), arguments, first=False):
                    items = _items(result)
                    found += items if convert is None else [convert(item) for item in items]
            except Exception as error:
                told = str(error) if isinstance(error, UsageError) else describe(error)
                problem = PluginError(f"Hook plugin {caller.name} failed in {hook}: {told}")
                if not self.tolerant:
                    raise problem from error
                self.broken.append(problem)
        return found

    def callers(self, hook: str) -> tuple[Implementation, ...]:
        """Return the implementations of a hook, in the order in which they are called."""
        return self._callers.get(hook, ())


def name_of(plugin: object) -> str:
    """Return what a plugin that was given no name is called."""
    name = getattr(plugin, "__name__", None)
    return name if isinstance(name, str) else f"{type(plugin).__qualname__} at {id(plugin):#x}"


_WRAPPERS = (classmethod, staticmethod, MethodType)


def implementations(plugin: object, name: str) -> list[tuple[str, Implementation]]:
    """Return the hook and the function of each implementation in a plugin; runs no property.

    Raises:
        PluginError: there is none, or one is wrong.
    """
    found: list[tuple[str, Implementation]] = []
    classes = plugin.__mro__ if isinstance(plugin, type) else type(plugin).__mro__
    holders = () if isinstance(plugin, ModuleType) else reversed(classes)
    attributes: dict[str, Any] = {}
    for holder in (*holders, plugin):
        attributes.update(getattr(holder, "__dict__", {}))
    for attribute, value in attributes.items():
        if isinstance(value, _WRAPPERS):
            value = value.__func__
        marks = getattr(value, IMPLEMENTATION, None) if isinstance(value, FunctionType) else None
        if marks is not None:
            hook = marks.get("specname") or attribute
            function = getattr(plugin, attribute)
            found.append((hook, _checked(plugin, name, hook, function, marks)))
    if not found:
        raise PluginError(
            f"Hook plugin {name} implements no hook. Mark its functions with "
            f"`from sparts.hookspecs import hookimpl`, and name them as in sparts.hookspecs."
        )
    return found


def _checked(
    plugin: object, name: str, hook: str, function: Function, marks: dict[str, Any]
) -> Implementation:
    if hook not in specifications:
        raise PluginError(f"Hook plugin {name} is wrong: unknown hook {hook!r}.")
    known = _parameters(specifications[hook])
    parameters = _parameters(function)
    if unknown := sorted(set(parameters) - set(known)):
        raise PluginError(
            f"Hook plugin {name} is wrong: {hook} has no parameter {', '.join(unknown)}; "
            f"it has {', '.join(known)}."
        )
    flags = code_flags(function)
    wrapper, steps = bool(marks.get("wrapper")), bool(flags & _GENERATOR)
    collected = hook.endswith(("_add", "_panels")) and not wrapper  # what it yields, too
    if marks.get("hookwrapper") or flags & _ASYNC or (wrapper is not steps and not collected):
        raise PluginError(
            f"Hook plugin {name} is wrong: {hook} must be a plain function, or a generator "
            f"function that is marked with @hookimpl(wrapper=True)."
        )
    order = bool(marks.get("tryfirst")) - bool(marks.get("trylast"))
    return Implementation(plugin, name, function, parameters, order, wrapper)


_GENERATOR, _ASYNC = 0x20, 0x80 | 0x200  # flags of code, without the import of inspect


def _parameters(function: Function) -> tuple[str, ...]:
    code = getattr(function, "__code__", None)
    if code is None:
        return ()
    names: tuple[str, ...] = code.co_varnames[: code.co_argcount]
    return names[1:] if isinstance(function, MethodType) else names


def _inserted(
    callers: tuple[Implementation, ...], new: Implementation
) -> tuple[Implementation, ...]:
    """Put an implementation where pluggy would: wrappers first, then by order, the newest first."""
    newest_last = new.order < 0  # of those to be tried last
    known = (*callers, new) if newest_last else (new, *callers)
    return tuple(sorted(known, key=lambda each: (each.wrapper, each.order), reverse=True))


_ENDED = object()


def _call(callers: Iterable[Implementation], arguments: Mapping[str, Any], first: bool) -> Any:
    """Call implementations in their order; the innermost wrapper sees the result first."""
    results: list[Any] = []
    wrappers: list[Any] = []
    error: BaseException | None = None
    try:
        for caller in callers:
            result = caller(arguments)
            if caller.wrapper:
                if next(result, _ENDED) is _ENDED:
                    raise RuntimeError(f"the hook wrapper {result.__qualname__} did not yield")
                wrappers.append(result)
            elif result is not None:
                results.append(result)
                if first:
                    break
    except BaseException as caught:
        error = caught
    result = (results[0] if results else None) if first else results
    for wrapper in reversed(wrappers):
        try:
            if error is None:
                wrapper.send(result)
            else:
                wrapper.throw(error)
        except StopIteration as end:
            result, error = end.value, None
            continue
        except BaseException as caught:
            error = caught
            continue
        wrapper.close()
        error = RuntimeError(f"the hook wrapper {wrapper.__qualname__} yielded twice")
    if error is not None:
        raise error
    return result


def _items(result: Any) -> list[Any]:
    """What one implementation returned: one thing, several, or a mapping's pairs."""
    if isinstance(result, str) or callable(result) or not hasattr(result, "__iter__"):
        return [result]
    return list(result.items() if isinstance(result, Mapping) else result)
