"""Calls: what a plugin sees of the units of work that come to a task, and how it wraps them.

The hook `sparts.hookspecs.sparts_call_wrap` returns a wrapper: ``wrapper(call, proceed)``, a plain
function or an ``async def``. It is called for each call of its task, and returns (or raises) what
the caller gets: mostly what ``proceed()`` gives, which runs the handler.

* A plain function is for what looks, refuses or adds context before the handler runs:
  ``return proceed()``. Where `Call.is_async` is True, ``proceed()`` gives an awaitable, which the
  function returns as it is.
* An ``async def`` is for what also looks at the end: ``result = await proceed()``. It works for all
  handlers. Where `Call.is_async` is False, it runs in the handler's thread and must await nothing
  else.

A generator would run nothing, so it ends the start with an error.

To refuse, raise `CallRefusedError` before ``proceed()``. Each transport has its own answer for it.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator, Iterable, Mapping, Sequence
from contextvars import Context, copy_context
from enum import StrEnum
from math import inf
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, TypeVar

from sparts.errors import SpartsError, check_wrapper, code_flags

if TYPE_CHECKING:
    from concurrent.futures import Future

    from sparts.context import ExecuteContext

    class WrappedTask(Protocol):
        """What must be known of a task: its name, and what plugins gave to wrap its calls."""

        name: str

        @property
        def _call_wrappers(self) -> Sequence[Wrapper]: ...


__all__ = ["Call", "CallRefusedError", "Reason", "Wrapper"]

Proceed: TypeAlias = Callable[[], Any]
"""The continuation of a call: it runs what is wrapped."""
Wrapper: TypeAlias = "Callable[[Call, Proceed], Any]"
"""What a plugin returns from `sparts_call_wrap`."""

_F = TypeVar("_F", bound="Future[Any]")
_NOTHING: Mapping[str, Any] = MappingProxyType({})


class Reason(StrEnum):
    """Why a call is refused; each transport has a status or an error for it."""

    UNAUTHENTICATED = "unauthenticated"
    """It is not known who calls: HTTP 401."""
    FORBIDDEN = "forbidden"
    """Who calls may not do that: HTTP 403."""
    TOO_MANY = "too many"
    """Who calls has called too often: HTTP 429."""
    UNAVAILABLE = "unavailable"
    """The call cannot be served now: HTTP 503."""


class CallRefusedError(SpartsError):
    """A wrapper refuses a call; the caller gets the transport's own error for it.

    Args:
        reason: which error that is.
        message: what the caller gets.
        retry_after: seconds after which the caller may try again; None, or no finite time: that is
            not said.
    """

    def __init__(self, reason: Reason, message: str = "", retry_after: float | None = None) -> None:
        super().__init__(message or f"The call was refused: {reason}.")
        self.reason: Reason = Reason(reason)
        told = retry_after is None or 0 <= retry_after < inf
        self.retry_after: float | None = retry_after if told else None


class Call:
    """One unit of work that comes from outside of a task.

    Attributes:
        task: the task that handles it.
        kind: ``http``, ``thrift``, ``dbus``, ``grpc``, ``rpc``, ``queue``, ``periodic``, ``event``,
            ``message`` or ``command``.
        name: what is called, with few different values: a method, a route, a task.
        is_async: whether ``proceed()`` gives an awaitable.
        peer: the address of who calls, without a port; empty: unknown, or this process.
        headers: headers or metadata, by lower-case name, to be read.
        item: the item of a queue or the payload of a message.
        attempt: 1 at first, one more after each `TryLater`.
        deadline: when the caller gives up, by `time.monotonic`; None: unknown.
        attributes: what else is known; docs/calls.md lists it for each kind.
        error: what the handler raised, where the handler's framework has answered for it, so that
            ``proceed()`` returns all the same; to be read after ``proceed()``.
    """

    peer: str = ""
    headers: Mapping[str, str] = _NOTHING
    item: Any = None
    attempt: int = 1
    deadline: float | None = None
    attributes: Mapping[str, Any] = _NOTHING
    error: BaseException | None = None

    def __init__(
        self, task: Any, kind: str, name: str, *, is_async: bool = False, **details: Any
    ) -> None:
        """Make the description of a call; ``details`` are further attributes of those above."""
        self.task = task
        self.kind = kind
        self.name = name
        self.is_async = is_async
        vars(self).update(details)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.kind} {self.name}>"


class WorkCall(Call):
    """A run of a task of this process: an item of a queue, a periodic run, an event.

    Each task has a class of its own, which holds what is the same for all of its calls.
    """

    context: ExecuteContext
    execute: Callable[[Any, ExecuteContext], Any]
    __init__: Any = object.__init__

    def proceed(self) -> Any:
        """Do the work."""
        return self.execute(self.context.item, self.context)

    @property
    def headers(self) -> Mapping[str, str]:  # type: ignore[override]
        """The headers of the message that brought the item, if a broker did."""
        return getattr(self.context, "text_headers", _NOTHING)


# -- for transports --------------------------------------------------------------------------------


def joined(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return headers by name; several values of one name become one, as HTTP and gRPC allow."""
    found: dict[str, str] = {}
    for name, value in pairs:
        found[name] = f"{found[name]}, {value}" if name in found else value
    return found


def blocking(task: WrappedTask) -> Wrapper | None:
    """Return what wraps the calls of a task whose handlers run in threads; None: nothing does."""
    return _nested([_run_in_thread(wrapper) for wrapper in task._call_wrappers])


def awaiting(task: WrappedTask) -> Wrapper | None:
    """Return what wraps the calls of a task whose handlers are awaited; None: nothing does.

    The result is an ``async def``, whose ``proceed`` must give an awaitable.
    """
    return _nested([_run_in_loop(wrapper) for wrapper in task._call_wrappers])


def starting(task: WrappedTask) -> Wrapper | None:
    """Return what `awaiting` does, but where all wrappers are plain functions without a coroutine
    of their own: that is called where the call begins, and gives what ``proceed`` gives, or raises.
    """
    wrappers = task._call_wrappers
    return awaiting(task) if any(map(awaits, wrappers)) else _nested(wrappers)


def around_work(
    task: Any, execute: Callable[..., Any], is_async: bool = False
) -> Callable[[Any, Any], Any]:
    """Return ``execute(item, context)`` of a task with what wraps its calls around it."""
    wrapper = awaiting(task) if is_async else blocking(task)
    if wrapper is None:
        return execute

    about = {"task": task, "kind": task.CALL_KIND, "name": task.name, "is_async": is_async}
    made: Any = type(WorkCall.__name__, (WorkCall,), {**about, "execute": staticmethod(execute)})

    def run(item: Any, context: ExecuteContext) -> Any:
        call = made()
        call.context, call.item, call.attempt = context, item, context.attempt
        return wrapper(call, call.proceed)

    return run


def around_future(task: WrappedTask, call: Call, start: Callable[[], _F]) -> _F:
    """Call ``start``, which begins work and gives its future, with what wraps calls around it.

    Raises:
        CallRefusedError: a wrapper refuses the call.
    """
    wrapper = awaiting(task)
    return start() if wrapper is None else follow(wrapper, call, start)


def follow(wrapper: Wrapper, call: Call, start: Callable[[], _F]) -> _F:
    """Call ``start``, which begins work and gives its future, with a wrapper of `awaiting` or
    `client_wrapper` around it.

    It begins in this thread, and goes on in the one that ends the future. It must await nothing but
    ``proceed()``. What it returns or raises after that is ignored: the future is the caller's.

    Raises:
        CallRefusedError: the wrapper refuses the call.
    """
    started: list[_F] = []
    context = copy_context()  # what a wrapper sets is for what it wraps, and not for the caller

    def proceed() -> Any:
        if not started:  # the caller has one future, and so one start
            started.append(start())
        return _Ended(started[0])

    steps = wrapper(call, proceed)
    try:
        context.run(steps.send, None)
    except StopIteration:
        pass
    except BaseException:
        if not started:
            raise
    else:
        if started:
            started[0].add_done_callback(lambda _: context.run(_resume, steps))
    if not started:
        steps.close()
        raise CallRefusedError(Reason.FORBIDDEN)
    return started[0]


class _Ended:
    """Waits for a future, once, and gives its outcome."""

    def __init__(self, future: Future[Any]) -> None:
        self.future = future

    def __await__(self) -> Generator[Any, None, Any]:
        if not self.future.done():
            yield self.future
        return self.future.result()


def _resume(steps: Coroutine[Any, Any, Any]) -> None:
    try:
        steps.send(None)
    except (StopIteration, Exception):
        return
    steps.close()


class InContext:
    """Awaits a coroutine each of whose steps runs in a context: that of its caller."""

    def __init__(self, context: Context, coroutine: Any) -> None:
        self._context = context
        self._coroutine = coroutine

    def __await__(self) -> Generator[Any, Any, Any]:
        run, steps = self._context.run, self._coroutine.__await__()
        step, argument = steps.send, None
        while True:
            try:
                waited = run(step, argument)
            except StopIteration as end:
                return end.value
            try:
                step, argument = steps.send, (yield waited)
            except BaseException as error:
                step, argument = steps.throw, error


# -- for clients -----------------------------------------------------------------------------------

_clients: list[Wrapper] = []


class ClientCall(Call):
    """A call that a client of this process makes; ``headers`` are sent where the protocol has any.

    ``task`` is the client's, or None where it belongs to none.
    """

    headers: dict[str, str]

    def __init__(self, task: Any, kind: str, name: str, is_async: bool, **details: Any) -> None:
        super().__init__(task, kind, name, is_async=is_async, headers={}, **details)


def wrap_clients(wrapper: Wrapper) -> None:
    """Wrap the calls that all clients of this process make from now on; the last is the outermost.

    Clients belong to no service, so this is no hook. Code that wraps them calls `unwrap_clients`.

    Raises:
        UsageError: it is a generator.
    """
    _clients.insert(0, check_wrapper(wrapper))


def unwrap_clients(wrapper: Wrapper) -> None:
    """Undo a `wrap_clients`."""
    _clients.remove(wrapper)


def client_wrapper(is_async: bool) -> Wrapper | None:
    """Return what wraps the calls of clients now, as `awaiting` or `blocking` do for tasks."""
    fit = _run_in_loop if is_async else _run_in_thread
    return _nested([fit(wrapper) for wrapper in _clients]) if _clients else None


def _nested(wrappers: Sequence[Wrapper]) -> Wrapper | None:
    """Return one wrapper that runs the first around the others; None if there is none."""
    if len(wrappers) < 2:
        return wrappers[0] if wrappers else None
    outer, inner = wrappers[0], _nested(wrappers[1:])
    assert inner is not None  # noqa: S101 - there are others
    return lambda call, proceed: outer(call, lambda: inner(call, proceed))


def awaits(wrapper: Any) -> bool:
    """Return whether a wrapper is an ``async def``."""
    return bool(code_flags(wrapper) & 0x80)  # inspect.CO_COROUTINE


def _run_in_thread(wrapper: Wrapper) -> Wrapper:
    if not awaits(wrapper):
        return wrapper

    def run(call: Call, proceed: Proceed) -> Any:
        async def awaitable() -> Any:
            return proceed()

        steps = wrapper(call, awaitable)
        try:
            steps.send(None)
        except StopIteration as end:
            return end.value
        steps.close()
        raise RuntimeError(f"{wrapper!r} waits in a call of {call.task.name} that has no loop.")

    return run


def _run_in_loop(wrapper: Wrapper) -> Wrapper:
    if awaits(wrapper):
        return wrapper

    async def run(call: Call, proceed: Proceed) -> Any:
        result = wrapper(call, proceed)
        return await result if hasattr(result, "__await__") else result

    return run
