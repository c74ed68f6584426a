"""The description of methods that every transport serves: `rpc` marks them, `interface_of` reads.

Nothing here needs a task, so that clients and generators of interface files can use it alone.
"""

from __future__ import annotations

import collections.abc
import inspect
import sys
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache, cached_property
from typing import Any, NamedTuple, TypeVar, get_args, get_origin, overload

from sparts.errors import UsageError
from sparts.rpc.errors import STANDARD, InternalError, RPCError, StandardError
from sparts.rpc.types import MISSING, Type, UnsupportedTypeError, type_of

F = TypeVar("F", bound=Callable[..., Any])

_MARKS = "__sparts_rpc__"
_STREAMS = (
    collections.abc.Iterator,
    collections.abc.Iterable,
    collections.abc.Generator,
    collections.abc.AsyncIterator,
    collections.abc.AsyncIterable,
    collections.abc.AsyncGenerator,
)


class Marks(NamedTuple):
    """What `rpc` says of a method; see there."""

    idempotent: bool = False
    raises: tuple[type[RPCError], ...] | None = None
    deadline: float | None = None


class Parameter(NamedTuple):
    """A parameter of a method.

    Attributes:
        name: its name.
        type: what it takes; of a stream: what its items are.
        default: its default; `sparts.rpc.types.MISSING`: it must be given.
        is_stream: whether it is an iterator of items that the caller sends.
        keyword_only: whether Python passes it by name alone.
    """

    name: str
    type: Type
    default: Any = MISSING
    is_stream: bool = False
    keyword_only: bool = False

    @property
    def required(self) -> bool:
        """Whether it must be given."""
        return self.default is MISSING


class Method:
    """A method, as all transports see it.

    Attributes:
        interface: the name of its interface, which is the class's.
        name: its name.
        qualified: both, ``Geo.distance``.
        doc: its docstring without indentation; empty: none.
        parameters: its parameters, in order.
        result: what it returns; of a stream: what its items are.
        streams: whether it is a generator, plain or asynchronous.
        is_async: whether it is ``async def``, an asynchronous generator included.
        errors: the errors that it declares, by name.
        idempotent: whether calling it twice is as good as once, so that clients may retry.
        deadline: seconds that it may take at most; None: as long as the caller allows.
        function: the function, not bound to an object.
    """

    def __init__(
        self, interface: str, function: Any, marks: Marks, declared: Mapping[str, type[RPCError]]
    ) -> None:
        self.interface: str = interface
        self.name: Any = function.__name__
        self.qualified: str = f"{interface}.{self.name}"
        self.doc: str = inspect.getdoc(function) or ""
        self.function = function
        self.idempotent: bool = marks.idempotent
        self.deadline: float | None = marks.deadline
        raises = marks.raises
        self.errors: Mapping[str, type[RPCError]] = (
            declared if raises is None else {each.__name__: each for each in raises}
        )
        streams_async = inspect.isasyncgenfunction(function)
        self.streams: bool = streams_async or inspect.isgeneratorfunction(function)
        self.is_async: bool = streams_async or inspect.iscoroutinefunction(function)
        hints = self._hints()
        self.parameters: tuple[Parameter, ...] = tuple(self._parameters(hints))
        if "return" not in hints:
            raise self._wrong("has no result type: write -> None if it returns nothing")
        result, is_stream = _stream_item(hints["return"])
        if is_stream != self.streams:
            what = "yields, and must return" if self.streams else "does not yield, and returns"
            raise self._wrong(f"{what} an iterator")
        self.result: Type = self._type_of("result", result)

    @property
    def stream_parameter(self) -> Parameter | None:
        """The parameter that is a stream; None: there is none."""
        return next((each for each in self.parameters if each.is_stream), None)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The names of the parameters, in order."""
        return tuple(each.name for each in self.parameters)

    def parts(self) -> Iterable[tuple[str, Type]]:
        """Give each type that a call may carry, with where it is: ``parameter a.x``, ``result``."""
        for each in self.parameters:
            for path, part in each.type.walk(each.name):
                yield f"parameter {path}", part
        for path, part in self.result.walk():
            yield f"result{path}", part

    def bind(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[Any, ...]:
        """Return the values of all parameters in order, of a call as Python writes it.

        Raises:
            TypeError: it does not fit the parameters.
        """
        if not kwargs and len(args) == len(self.parameters) == self._positional:
            return tuple(args)
        bound = self._signature.bind(*args, **kwargs)
        bound.apply_defaults()
        return tuple(bound.arguments.values())

    def error(self, name: str, message: str, id: str = "") -> RPCError:
        """Return the exception that a name, as a server has sent it, and a message mean.

        Args:
            name: the class's name: of a declared error, or a standard one.
            message: its message.
            id: of an internal error.
        """
        if name in self.errors:
            cls = self.errors[name]
            return cls.__new__(cls, message)  # whatever its __init__ takes
        found = STANDARD.get(name)
        if found is None:
            return InternalError(f"{name}: {message}", id)
        return InternalError(message, id) if found is InternalError else found(message)

    def declared(self, error: BaseException) -> type[RPCError] | None:
        """Return the declared or standard class as which a caller gets an error; None: as none."""
        for each in type(error).__mro__:
            if self.errors.get(each.__name__) is each or STANDARD.get(each.__name__) is each:
                return each
        return None

    # -- reading the function ----------------------------------------------------------------------

    @cached_property
    def _signature(self) -> inspect.Signature:
        whole = inspect.signature(self.function)
        return whole.replace(parameters=list(whole.parameters.values())[1:])

    @cached_property
    def _positional(self) -> int:
        return sum(not each.keyword_only for each in self.parameters)

    def _wrong(self, what: str) -> UsageError:
        return UsageError(f"{self.qualified} {what}.")

    def _hints(self) -> dict[str, Any]:
        try:
            return typing.get_type_hints(self.function, include_extras=True)
        except NameError as error:
            what = f"has an annotation that is not known at run time: {error}"
            raise self._wrong(what) from error

    def _parameters(self, hints: Mapping[str, Any]) -> Iterable[Parameter]:
        n_streams = 0
        for each in self._signature.parameters.values():
            if each.kind in (each.VAR_POSITIONAL, each.VAR_KEYWORD):
                raise self._wrong(
                    f"takes any number of arguments ({each}), which no caller can know"
                )
            if each.name not in hints:
                raise self._wrong(f"has no annotation for its parameter {each.name}")
            annotation, is_stream = _stream_item(hints[each.name])
            n_streams += is_stream
            if n_streams > 1:
                raise self._wrong("has two parameters that are streams")
            type_ = self._type_of(f"parameter {each.name}", annotation)
            default = MISSING if each.default is each.empty else each.default
            if is_stream and default is not MISSING:
                raise self._wrong(f"has a default for its stream {each.name}")
            yield Parameter(each.name, type_, default, is_stream, each.kind is each.KEYWORD_ONLY)

    def _type_of(self, where: str, annotation: Any) -> Type:
        try:
            found = type_of(annotation)
            list(found.walk())  # fields included
        except UnsupportedTypeError as error:
            raise self._wrong(f"cannot be called from outside: {where}: {error}") from error
        return found

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.qualified}>"


class Interface(NamedTuple):
    """The methods of a class, as all transports see them.

    Attributes:
        name: the class's name.
        doc: its docstring.
        methods: its methods by name, in the order of declaration, those of base classes first.
        cls: the class.
    """

    name: str
    doc: str
    methods: Mapping[str, Method]
    cls: type[Any]


@overload
def rpc(function: F, /) -> F: ...
@overload
def rpc(
    *,
    idempotent: bool = False,
    raises: Iterable[type[RPCError]] | None = None,
    deadline: float | None = None,
) -> Callable[[F], F]: ...
def rpc(
    function: Any = None,
    /,
    *,
    idempotent: bool = False,
    raises: Iterable[type[RPCError]] | None = None,
    deadline: float | None = None,
) -> Any:
    """Mark a method that callers in other processes may call: ``@rpc`` or ``@rpc(...)``.

    It may be ``def`` or ``async def``, and a generator of either kind (a stream). All parameters
    and the result need annotations; `sparts.rpc.types.Kind` lists the types.

    Args:
        idempotent: whether calling it twice is as good as once: clients retry it, HTTP has GET.
        raises: the errors that it declares; None: each `RPCError` in the module of its class.
        deadline: seconds that it may take; a caller's own deadline may be earlier. None: no limit.
    """
    marks = Marks(idempotent, None if raises is None else tuple(raises), deadline)

    def mark(function: F) -> F:
        setattr(_behind(function), _MARKS, marks)
        return function

    return mark if function is None else mark(function)


def _behind(value: Any) -> Any:
    """Return the function of which a class or static method, a property or the like is made."""
    names = ("__func__", "fget", "func")
    return next((found for name in names if (found := getattr(value, name, None))), value)


def is_marked(value: Any) -> bool:
    """Return whether `rpc` has marked a value in a class."""
    return getattr(_behind(value), _MARKS, None) is not None


def interface_of(cls: type[Any]) -> Interface:
    """Return the description of a class with methods that are marked by `rpc`.

    Raises:
        UsageError: a method cannot be described; the message names it, and its parameter.
    """
    return _described(cls)  # type: ignore[arg-type]


@cache
def _described(cls: Any) -> Interface:
    declared: dict[str, type[RPCError]] = {}
    marked: dict[str, tuple[Any, Marks]] = {}
    for base in reversed(cls.__mro__):
        declared |= _errors_in(base.__module__)
        for name, value in vars(base).items():
            if (marks := getattr(_behind(value), _MARKS, None)) is not None:
                if not callable(value) or isinstance(value, (staticmethod, type)):
                    text = "is a class or static method, or a property"
                    text = f"{text}. `@rpc` marks methods that take self."
                    raise UsageError(f"{base.__name__}.{name} {text}")
                marked[name] = (value, marks)
    methods = {
        name: Method(cls.__name__, function, marks, declared)
        for name, (function, marks) in marked.items()
    }
    doc = inspect.cleandoc(vars(cls).get("__doc__") or "")
    return Interface(cls.__name__, doc, methods, cls)


def _errors_in(module: str) -> dict[str, type[RPCError]]:
    everything = vars(sys.modules[module]).values() if module in sys.modules else ()
    return {
        each.__name__: each
        for each in everything
        if isinstance(each, type)
        and issubclass(each, RPCError)
        and each is not RPCError
        and not issubclass(each, StandardError)
    }


def _stream_item(annotation: Any) -> tuple[Any, bool]:
    """Return what the items of a stream are and True, or an annotation itself and False."""
    if get_origin(annotation) in _STREAMS:
        return get_args(annotation)[0], True
    return annotation, False
