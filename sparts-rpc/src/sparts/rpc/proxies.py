"""connect: an object with the methods of a class, which calls them in another process."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from time import monotonic
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, TypeVar, cast, overload

from sparts.calls import client_wrapper
from sparts.clock import retry_delay
from sparts.rpc.clients import OutgoingCall, client_for
from sparts.rpc.errors import UnavailableError
from sparts.rpc.interface import interface_of
from sparts.rpc.served_calls import current_call

if TYPE_CHECKING:
    from sparts.rpc.clients import Client
    from sparts.rpc.interface import Method

T = TypeVar("T")
P = ParamSpec("P")
R = TypeVar("R")

_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 5.0
"""Seconds before the first retry, at most, and before any; each later one has twice as long."""


def connect(
    url: str, interface: type[T], *, timeout: float | None = 60.0, retries: int = 2, **options: Any
) -> T:
    """Return an object whose methods are called at a URL; from any thread.

    Methods that are ``def`` wait for the result, ``async def`` are awaited, generators are iterated
    over. It is a context manager, and has ``close()``; ``async with`` gives what `connect_async`
    returns. The connections are made when they are needed. Once it is closed, each call raises
    `UnavailableError`. A method of the class that is named ``close`` is called instead: use
    ``with``.

    Args:
        url: ``http:``, ``https:``, ``unix:``, ``thrift:``, ``grpc:``, ``dbus:``, ``amqp:``, or
            ``local:`` for a task of this process.
        interface: the class of the methods: an `RPCTask`, or any class with methods marked by
            `rpc` whose name is the task's.
        timeout: seconds that a call may take, retries included; None: no limit. Where the call of
            a method that runs here ends earlier, that counts.
        retries: how often a call of an idempotent method is sent again after an
            `UnavailableError`. Other methods are never called again.
        options: what the transport takes, such as ``ssl``.

    Raises:
        UsageError: nobody provides the scheme, or a method cannot be described or carried.
    """
    return cast("T", _Proxy(_Caller(url, interface, timeout, retries, options), interface, None))


def connect_async(
    url: str, interface: type[T], *, timeout: float | None = 60.0, retries: int = 2, **options: Any
) -> AsyncProxy[T]:
    """Return an object whose methods are all awaited, those that are ``def`` too; see `connect`.

    Generators are asynchronous iterators. For a type checker, use `AsyncProxy.call`.
    """
    return AsyncProxy(_Caller(url, interface, timeout, retries, options), interface, True)


class _Caller:
    """Makes calls by a client: deadlines, retries, wrappers."""

    def __init__(
        self,
        url: str,
        interface: type[Any],
        timeout: float | None,
        retries: int,
        options: dict[str, Any],
    ) -> None:
        self.client: Client = client_for(url, interface_of(interface), **options)
        self._timeout, self._retries = timeout, retries

    def close(self) -> None:
        self.client.closed = True
        self.client.close()

    async def close_async(self) -> None:
        self.client.closed = True
        await self.client.close_async()

    def call(self, method: Method, args: Any, kwargs: Any) -> Any:
        call, client = self._outgoing(method, args, kwargs, False), self.client
        wrapper = client_wrapper(False)
        number = 0
        while True:
            try:
                return wrapper(call, lambda: client.call(call)) if wrapper else client.call(call)
            except UnavailableError:
                if (pause := self._pause(call, number)) is None:
                    raise
            number += 1
            time.sleep(pause)

    async def call_async(self, method: Method, args: Any, kwargs: Any) -> Any:
        call, client = self._outgoing(method, args, kwargs, True), self.client
        wrapper = client_wrapper(True)
        number = 0
        while True:
            try:
                if wrapper is None:
                    return await client.call_async(call)
                return await wrapper(call, lambda: client.call_async(call))
            except UnavailableError:
                if (pause := self._pause(call, number)) is None:
                    raise
            number += 1
            await asyncio.sleep(pause)

    def stream(self, method: Method, args: Any, kwargs: Any) -> Iterator[Any]:
        call, wrapper = self._outgoing(method, args, kwargs, False), client_wrapper(False)
        items = self.client.stream
        return cast("Iterator[Any]", wrapper(call, lambda: items(call)) if wrapper else items(call))

    async def stream_async(self, method: Method, args: Any, kwargs: Any) -> AsyncIterator[Any]:
        call, wrapper = self._outgoing(method, args, kwargs, True), client_wrapper(True)

        async def items() -> Any:
            return self.client.stream_async(call)

        async for each in await (wrapper(call, items) if wrapper else items()):
            yield each

    def _outgoing(self, method: Method, args: Any, kwargs: Any, is_async: bool) -> OutgoingCall:
        self.client.check_open()
        deadline = None if self._timeout is None else monotonic() + self._timeout
        served = current_call()
        if served is not None and served.deadline is not None:
            deadline = served.deadline if deadline is None else min(deadline, served.deadline)
        return OutgoingCall(method, method.bind(args, kwargs), deadline, is_async)

    def _pause(self, call: OutgoingCall, number: int) -> float | None:
        """Return the seconds to wait before the next attempt; None: there is none."""
        if not call.method.idempotent or number >= self._retries or self.client.closed:
            return None
        pause = retry_delay(number, _FIRST_PAUSE, _LONGEST_PAUSE)
        left = call.seconds_left()
        return pause if left is None or pause < left else None


class _Proxy:
    """An object with the methods of an interface.

    Args:
        caller: makes the calls.
        interface: the class of the methods.
        is_async: whether methods are awaited; None: those that are ``async def``.
    """

    def __init__(self, caller: _Caller, interface: type[Any], is_async: bool | None) -> None:
        self._caller, self._interface = caller, interface
        for name, method in interface_of(interface).methods.items():
            waits = method.is_async if is_async is None else is_async
            setattr(self, name, _function(caller, method, waits))

    def close(self) -> None:
        """Close the connections; later calls raise `UnavailableError`."""
        self._caller.close()

    async def close_async(self) -> None:
        """Close the connections, from a coroutine; see `close`."""
        await self._caller.close_async()

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *failure: object) -> None:
        self._caller.close()

    async def __aenter__(self) -> Any:
        return AsyncProxy[Any](self._caller, self._interface, True)

    async def __aexit__(self, *failure: object) -> None:
        await self._caller.close_async()

    def __repr__(self) -> str:
        client = self._caller.client
        return f"<{client.interface.name} at {client.url}>"


class AsyncProxy(_Proxy, Generic[T]):
    """What `connect_async` returns."""

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Callable[..., Any]: ...
        async def __aenter__(self) -> AsyncProxy[T]: ...

    @overload
    def call(
        self,
        method: Callable[Concatenate[Any, P], Coroutine[Any, Any, R]],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> Awaitable[R]: ...
    @overload
    def call(  # type: ignore[overload-overlap]
        self,
        method: Callable[Concatenate[Any, P], Iterator[R] | AsyncIterator[R]],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> AsyncIterator[R]: ...
    @overload
    def call(
        self, method: Callable[Concatenate[Any, P], R], /, *args: P.args, **kwargs: P.kwargs
    ) -> Awaitable[R]: ...
    def call(self, method: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Call a method of the class, such that type checkers know its types.

        ``await geo.call(Geo.distance, a, b)``; a stream is an asynchronous iterator, as in
        ``async for point in geo.call(Geo.walk, 10)``.
        """
        return getattr(self, method.__name__)(*args, **kwargs)


def _function(caller: _Caller, method: Method, is_async: bool) -> Callable[..., Any]:
    make: Any
    if method.streams:
        make = caller.stream_async if is_async else caller.stream
    else:
        make = caller.call_async if is_async else caller.call

    def call(*args: Any, **kwargs: Any) -> Any:
        return make(method, args, kwargs)

    call.__name__, call.__qualname__, call.__doc__ = method.name, method.qualified, method.doc
    return call
