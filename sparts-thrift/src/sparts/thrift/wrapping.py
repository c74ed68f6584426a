"""Calls of thrift methods as plugins wrap them: `sparts.calls` says how."""

from __future__ import annotations

from contextvars import copy_context
from keyword import iskeyword
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from sparts.calls import Call, awaiting, blocking
from sparts.thrift.calls import current

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from sparts.calls import Wrapper
    from sparts.thrift.handlers import Handler
    from sparts.thrift.interfaces import MethodSpec

_NONE: Mapping[str, str] = {}


class ThriftCall(Call):
    """A call of a method.

    It is the struct that the arguments are read into, and each method has a class of its own, which
    holds what is the same for all calls: so no call needs a further object.
    """

    kind = "thrift"
    __init__: Any = object.__init__
    _fields: Sequence[str] = ()

    @property
    def arguments(self) -> tuple[Any, ...]:
        """What the method is called with."""
        return tuple(getattr(self, field) for field in self._fields)

    @property
    def peer(self) -> str:  # type: ignore[override]
        """The address of the client; empty: over a Unix socket."""
        caller = current.get()
        return caller.peer if caller is not None else ""

    @property
    def headers(self) -> Mapping[str, str]:  # type: ignore[override]
        """Over HTTP, the bearer token as ``authorization``; else those of a client of ours that is
        in this process.
        """
        caller = current.get()
        return caller.headers if caller is not None else _NONE

    @property
    def attributes(self) -> Mapping[str, Any]:  # type: ignore[override]
        """The names of the service and the method."""
        return {"service": self.task.thrift_service.name, "method": self.name}


def wrapper_of(handler: Handler, asynchronous: bool) -> Wrapper | None:
    """Return what wraps the calls of a handler's methods; None: nothing does."""
    return awaiting(handler) if asynchronous else blocking(handler)


def calling(
    function: Callable[..., Any], names: Sequence[str], asynchronous: bool
) -> Callable[[Any], Any]:
    """Return what calls a function with the attributes of a struct that have some names.

    What is not awaited runs in a context of its own, as a coroutine does in its task's.
    """
    if any(iskeyword(name) or not name.isidentifier() for name in names):
        getters = [attrgetter(name) for name in names]
        given = lambda struct: function(*[get(struct) for get in getters])  # noqa: E731
        return given if asynchronous else lambda struct: copy_context().run(given, struct)
    values = ", ".join(["function", *(f"struct.{name}" for name in names)])
    call = f"{values.replace(', ', '(', 1)})" if names else "function()"
    code = f"lambda struct: {call if asynchronous else f'context().run({values})'}"
    known = {"function": function, "context": copy_context}
    return eval(code, known)  # type: ignore[no-any-return]  # noqa: S307 - names were looked at


class Wrapped:
    """A method with what wraps its calls around it.

    Args:
        wrapper: of `wrapper_of`.
        handler: the task that the method belongs to.
        spec: of the method. A call has its parameters as ``value0``, ``value1`` and so on, for
            they may be called as attributes of calls are.
        function: what implements it.
        asynchronous: whether it is awaited.
    """

    def __init__(
        self,
        wrapper: Wrapper,
        handler: Handler,
        spec: MethodSpec,
        function: Callable[..., Any],
        asynchronous: bool,
    ) -> None:
        fields = {name: f"value{number}" for number, name in enumerate(spec.parameters)}
        self._fields = fields
        about = {"task": handler, "name": spec.name, "is_async": asynchronous}
        about |= dict.fromkeys(fields.values()) | {"_fields": tuple(fields.values())}
        about["proceed"] = calling(function, [*fields.values()], asynchronous=True)
        self.made: Any = type(ThriftCall.__name__, (ThriftCall,), about)
        """The class of its calls."""
        self.run: Callable[[Any], Any]
        """Runs what wraps a call, and the method."""
        if asynchronous:
            self.run = lambda call: wrapper(call, call.proceed)
        else:
            self.run = lambda call: copy_context().run(wrapper, call, call.proceed)

    def spec(self, spec: Any) -> Any:
        """Return the ``thrift_spec`` of the arguments for C code that reads them into a call."""
        return tuple(field and (*field[:2], self._fields[field[2]], *field[3:]) for field in spec)

    def run_struct(self, struct: Any) -> Any:
        """Do what `run` does, for a struct that was read by Python code."""
        call = self.made()
        for parameter, field in self._fields.items():
            setattr(call, field, getattr(struct, parameter))
        return self.run(call)
