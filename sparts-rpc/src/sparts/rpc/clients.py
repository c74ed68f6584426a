"""What a client transport implements, and how it is found by the scheme of a URL.

A distribution names its `Client` class by an entry point of the group ``sparts.rpc`` whose name is
the scheme: ``thrift = "sparts.thrift.rpc.client:ThriftClient"``. If the class has a class method
``list_methods(url)`` that returns lines, ``sparts rpc list`` prints them. In the same group,
``idl-proto`` names what ``sparts rpc idl --proto`` calls: a function that takes a list of
`Interface` and returns the text of an interface file.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from time import monotonic
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from sparts import entry_points
from sparts.calls import ClientCall
from sparts.entry_points.scanning import scan, search_path
from sparts.errors import UsageError
from sparts.rpc.errors import DeadlineExceededError, UnavailableError

if TYPE_CHECKING:
    from sparts.entry_points.scanning import EntryPoint
    from sparts.rpc.interface import Interface, Method

GROUP = "sparts.rpc"
"""The group of entry points."""


class OutgoingCall(ClientCall):
    """A call that a client makes.

    Attributes:
        method: the method.
        arguments: the values of all parameters, in order, defaults included.
        deadline: when the caller gives up, by `time.monotonic`; None: never.
        headers: what wrappers of calls want to be sent, where the transport has headers.
    """

    def __init__(
        self, method: Method, arguments: Sequence[Any], deadline: float | None, is_async: bool
    ) -> None:
        super().__init__(None, "rpc", method.qualified, is_async, deadline=deadline)
        self.method: Method = method
        self.arguments: Sequence[Any] = arguments

    def seconds_left(self) -> float | None:
        """Return how many seconds are left, more than 0; None: there is no limit.

        Raises:
            DeadlineExceededError: none is left.
        """
        if self.deadline is None:
            return None
        left = self.deadline - monotonic()
        if left <= 0:
            raise self.late()
        return left

    def late(self) -> DeadlineExceededError:
        """Return the error of a call whose deadline has passed."""
        return DeadlineExceededError(f"{self.name} has taken too long")


class Client:
    """A connection, or a pool of them, to one server; from any thread, and from any loop.

    Methods raise ``call.method.error(name, message, id)`` for an error that the server sent,
    `sparts.calls.CallRefusedError` for a refusal, `sparts.rpc.errors.UnavailableError` when the
    server cannot be reached or a connection is lost (``maybe_run=False`` where the method was
    certainly not called), and ``call.late()`` when ``call.seconds_left()`` have passed.

    Args:
        url: the URL.
        interface: whose methods are called.
        options: further keyword arguments of `connect`, such as ``ssl``; those that a transport
            does not know are a TypeError.
    """

    def __init__(self, url: str, interface: Interface, **options: Any) -> None:
        if options:
            raise TypeError(f"{type(self).__name__} has no option {', '.join(options)}.")
        self.url: str = url
        self.interface: Interface = interface
        self.closed: bool = False
        """Whether the proxy was closed."""

    def check_open(self) -> None:
        """Call this before connecting.

        Raises:
            UnavailableError: the proxy was closed.
        """
        if self.closed:
            raise UnavailableError("This client is closed.", maybe_run=False)

    def call(self, call: OutgoingCall) -> Any:
        """Make a call, and return its result; of a stream: not called."""
        raise NotImplementedError

    async def call_async(self, call: OutgoingCall) -> Any:
        """Make a call from a coroutine. The default makes `call` in a thread."""
        return await asyncio.to_thread(self.call, call)

    def stream(self, call: OutgoingCall) -> Iterator[Any]:
        """Make a call of a stream, and give the items. The default: `call` returns them."""
        yield from self.call(call)

    async def stream_async(self, call: OutgoingCall) -> AsyncIterator[Any]:
        """Make a call of a stream from a coroutine. The default: `call_async` returns them."""
        for each in await self.call_async(call):
            yield each

    def close(self) -> None:
        """Close what is open; calls that run may fail. May be called twice, and from any thread."""

    async def close_async(self) -> None:
        """Close what is open, from a coroutine. The default: `close`."""
        self.close()


async def collected(call: OutgoingCall) -> tuple[Any, ...]:
    """Return the arguments of a call, with the items of a stream as a list."""
    values = list(call.arguments)
    for number, each in enumerate(call.method.parameters):
        if each.is_stream and hasattr(values[number], "__aiter__"):
            values[number] = [item async for item in values[number]]
    return tuple(values)


def client_for(url: str, interface: Interface, **options: Any) -> Client:
    """Return a client for a URL.

    Raises:
        UsageError: nobody provides its scheme.
    """
    scheme = urlsplit(url).scheme
    if scheme == "local":
        make = entry_points.load_object("sparts.rpc.local:LocalClient")
    else:
        make = provided(scheme, f"{url!r} cannot be connected to").load()
    found: Client = make(url, interface, **options)
    return found


def provided(name: str, problem: str) -> EntryPoint:
    """Return the entry point of a name in the group ``sparts.rpc``.

    Raises:
        UsageError: there is none; the message begins with ``problem``.
    """
    found = {entry.name: entry for entry in reversed(providers())}
    if name not in found:
        names = ", ".join(sorted(each for each in (*found, "local") if not each.startswith("idl-")))
        wanted = entry_points.known_providers(GROUP).get(name)
        hint = f" {entry_points.install_hint(wanted)}" if wanted else ""
        raise UsageError(
            f"{problem}: no installed distribution provides {name!r}, but {names}.{hint}"
        )
    return found[name]


def providers() -> list[EntryPoint]:
    """Return the entry points of the group ``sparts.rpc`` that are not blocked."""
    return [entry for entry in scan(search_path(), (GROUP,)) if not entry_points.blocked(entry)]
