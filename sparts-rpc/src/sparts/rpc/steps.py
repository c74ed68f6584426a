"""Small parts of running a method: its parameters by position, and the steps of a generator."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import Future
from itertools import islice
from time import monotonic
from typing import TYPE_CHECKING, Any

from sparts.rpc.errors import InvalidArgumentsError
from sparts.rpc.served_calls import RPCCall, current

if TYPE_CHECKING:
    from sparts.rpc.interface import Method

END: Any = object()
"""What a step gives at the end of a generator."""


MOST_COLLECTED = 10_000
"""Items of a stream that are collected where a transport has no streams."""


async def collected(method: Method, items: AsyncIterator[Any]) -> list[Any]:
    """Return the items of a stream; InvalidArgumentsError if they are too many."""
    found: list[Any] = []
    async for each in items:
        found.append(each)
        _check(method, found)
    return found


def collected_here(method: Method, items: Iterator[Any]) -> list[Any]:
    """Do the same in a thread."""
    return _check(method, list(islice(items, MOST_COLLECTED + 1)))


def _check(method: Method, found: list[Any]) -> list[Any]:
    if len(found) <= MOST_COLLECTED:
        return found
    text = f"{method.qualified} gives more than {MOST_COLLECTED} items"
    raise InvalidArgumentsError(f"{text}, and this transport has no streams")


def waited(call: RPCCall, future: Future[Any]) -> Any:
    """Return the result of what runs on a loop, and cancel it when the call has no time left."""
    try:
        return future.result(left(call))
    except TimeoutError:
        future.cancel()
        raise


def left(call: RPCCall) -> float | None:
    """Return how many seconds a call has left; None: there is no limit."""
    return None if call.deadline is None else max(0.0, call.deadline - monotonic())


def by_position(function: Any, method: Method) -> Callable[..., Any]:
    """Return a function that takes all parameters by position."""
    names = tuple(each.name for each in method.parameters if each.keyword_only)
    if not names:
        return function  # type: ignore[no-any-return]
    at = len(method.parameters) - len(names)
    return lambda *args: function(*args[:at], **dict(zip(names, args[at:], strict=True)))


async def each_of(values: Sequence[Any]) -> AsyncIterator[Any]:
    """Give the items of a list, asynchronously."""
    for each in values:
        yield each


def made(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return an ``async`` function that calls a function, which returns at once."""

    async def call(*arguments: Any) -> Any:
        return function(*arguments)

    return call


def stepped(call: RPCCall, items: Any, name: str) -> Any:
    """Call a method of a generator by its name: the next item, or its end."""
    current.set(call)
    try:
        return getattr(items, name, lambda: None)()
    except StopIteration:
        return END
    except GeneratorExit as error:  # the transport would take it for its own end
        raise RuntimeError("A stream has raised GeneratorExit.") from error


async def stepped_async(call: RPCCall, items: Any, name: str) -> Any:
    """The same of an asynchronous generator."""
    current.set(call)
    try:
        return await getattr(items, name)()
    except StopAsyncIteration:
        return END
    except GeneratorExit as error:  # the transport would take it for its own end
        raise RuntimeError("A stream has raised GeneratorExit.") from error
