"""The transport ``local:``: calls of tasks of this process, as if they came from another.

Values are converted and checked as on the way to another process, so that nobody shares them.
``local:`` means the last task of the interface's name that has started, ``local:NAME`` that of the
service of a name.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import msgspec
from sparts.calls import CallRefusedError
from sparts.errors import message_of
from sparts.rpc import task
from sparts.rpc.clients import Client, collected
from sparts.rpc.errors import (
    InternalError,
    InvalidArgumentsError,
    NoSuchMethodError,
    RPCError,
    UnavailableError,
)
from sparts.rpc.serving import Served
from sparts.rpc.values import Values

if TYPE_CHECKING:
    from sparts.rpc.clients import OutgoingCall
    from sparts.rpc.interface import Interface


class _Here:
    """The origin of a call from this process."""

    peer = ""

    def __init__(self, call: OutgoingCall) -> None:
        self.headers = {name.lower(): value for name, value in call.headers.items()}


class LocalClient(Client):
    """Calls tasks of this process."""

    def __init__(self, url: str, interface: Interface, **options: Any) -> None:
        super().__init__(url, interface, **options)
        self._service = url.partition(":")[2].strip("/")
        self._values = {
            name: Values(method, msgspec.msgpack, items=True)
            for name, method in interface.methods.items()
        }
        self._served: dict[tuple[Any, str], Served] = {}

    def call(self, call: OutgoingCall) -> Any:
        """Make a call in one of the threads of the task, and wait for it there."""
        served, values, arguments = self._prepare(call, call.arguments)
        left = call.seconds_left()
        future = served.task.pool.submit(served.call_here, arguments, _Here(call), call.deadline)
        try:
            with _translated(call):
                return _copied(served, values, future.result(left))
        except TimeoutError:
            raise call.late() from None

    async def call_async(self, call: OutgoingCall) -> Any:
        """Make a call where the method belongs."""
        served, values, arguments = self._prepare(call, await collected(call))
        with _translated(call):
            return _copied(served, values, await served.call(arguments, _Here(call), call.deadline))

    def stream(self, call: OutgoingCall) -> Iterator[Any]:
        """Give copies of the items."""
        served, values, arguments = self._prepare(call, call.arguments)
        with _translated(call):
            for item in served.stream_here(arguments, _Here(call), call.deadline):
                yield _copied(served, values, item)

    async def stream_async(self, call: OutgoingCall) -> AsyncIterator[Any]:
        """Give copies of the items."""
        served, values, arguments = self._prepare(call, await collected(call))
        with _translated(call):
            async for item in served.stream(arguments, _Here(call), call.deadline):
                yield _copied(served, values, item)

    def _prepare(self, call: OutgoingCall, arguments: Any) -> tuple[Served, Values, Any]:
        values, name = self._values[call.method.name], call.method.name
        call.seconds_left()
        found = self._find()
        served = self._served.get((found, name))
        if served is None:
            if (method := found.interface().methods.get(name)) is None:
                raise NoSuchMethodError(f"{found.name} has no method {name}")
            self._served.clear()
            served = self._served[found, name] = Served(found, method, "local")
        return served, values, values.read_arguments(values.write_arguments(tuple(arguments)))

    def _find(self) -> task.RPCTask:
        name = self.interface.name
        for each in reversed(task.running):
            if each.name == name and self._service in ("", each.service.name):
                return each
        raise UnavailableError(f"No task {name} runs in this process.", maybe_run=False)


def _copied(served: Served, values: Values, result: Any) -> Any:
    """Return a copy of what a method has returned, or an item of it."""
    try:
        return values.read_result(values.write_result(result))
    except InvalidArgumentsError as error:
        raise served.bad_result(error) from error


@contextmanager
def _translated(call: OutgoingCall) -> Iterator[None]:
    """Raise the errors of a method as a caller in another process gets them."""
    try:
        yield
    except RPCError as error:
        name = (call.method.declared(error) or type(error)).__name__
        error_id = error.id if isinstance(error, InternalError) else ""
        raise call.method.error(name, message_of(error), error_id) from None
    except CallRefusedError as error:
        raise CallRefusedError(error.reason, message_of(error), error.retry_after) from None
