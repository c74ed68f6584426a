"""The client of ``dbus:`` URLs: what `sparts.rpc.connect` uses.

``dbus:NAME`` is a name on the session bus; ``dbus:NAME?bus=system`` on the system bus, and
``dbus:NAME?bus=ADDRESS`` on another, such as ``unix:path=/run/my_bus``.
"""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import msgspec
from dbus_fast import DBusError, Message, Variant
from dbus_fast.signature import get_signature_tree
from sparts.errors import UsageError, message_of
from sparts.rpc.clients import Client, OutgoingCall, collected
from sparts.rpc.errors import InvalidArgumentsError, UnavailableError
from sparts.rpc.parts import refusal
from sparts.rpc.values import explain
from sparts.tasks.dbus.bus import Bus, session_address, system_address
from sparts.tasks.dbus.errors import BusError
from sparts.tasks.dbus.rpc.errors import from_dbus
from sparts.tasks.dbus.rpc.forms import Forms
from sparts.tasks.dbus.rpc.methods import CONTEXT, MethodForm, methods_of, place_of
from sparts.tasks.dbus.validity import is_bus_name

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence

    from sparts.rpc.interface import Interface

MAX_MESSAGE = 128 * 1024 * 1024
"""Bytes: what D-Bus allows."""


class DBusRPCClient(Client):
    """Calls an object on D-Bus, by one connection, which lives in a thread of its own.

    Args:
        url: the URL.
        interface: whose methods are called.
        bus: ``session``, ``system``, or the address of a bus; None: what the URL says.
    """

    def __init__(
        self, url: str, interface: Interface, *, bus: str | None = None, **options: Any
    ) -> None:
        super().__init__(url, interface, **options)
        self._name, place = _parts(url)
        self._place = bus or place
        self._path, self._interface = place_of(self._name, interface.name)
        self._forms = methods_of(interface, Forms())
        self._trees = {
            name: get_signature_tree(each.in_signature + CONTEXT)
            for name, each in self._forms.items()
        }
        self._connection = _Connection(self._address)

    @classmethod
    def list_methods(cls, url: str) -> list[str]:
        """Return the methods of a server, a line each, for ``sparts rpc list``.

        Raises:
            UsageError: the URL is wrong.
            UnavailableError: the server does not answer.
        """
        from sparts.tasks.dbus.rpc.listing import listed

        name, place = _parts(url)
        return listed(name, _address(place))

    def _address(self) -> str:
        return _address(self._place)

    def call(self, call: OutgoingCall) -> Any:
        """Make a call, and return its result."""
        message, form = self._message(call, call.arguments)
        future = self._connection.submit(self._exchange(call, message, form))
        return future.result()

    async def call_async(self, call: OutgoingCall) -> Any:
        """Make a call from a coroutine."""
        message, form = self._message(call, await collected(call))
        future = self._connection.submit(self._exchange(call, message, form))
        return await asyncio.wrap_future(future)

    def _message(self, call: OutgoingCall, values: Sequence[Any]) -> tuple[Message, MethodForm]:
        method, form = call.method, self._forms[call.method.name]
        if method.stream_parameter is not None:
            pairs = zip(method.parameters, values, strict=True)
            values = [list(value) if each.is_stream else value for each, value in pairs]
        context: dict[str, Variant] = {}
        if (left := call.seconds_left()) is not None:
            context["timeout"] = Variant("d", left)
        if call.headers:
            context["headers"] = Variant("a{ss}", dict(call.headers))
        try:
            body = [*form.body(values), context]
            message = Message(
                self._name, self._path, self._interface, method.name,
                signature=self._trees[method.name], body=body,
            )  # fmt: skip
        except Exception as error:
            raise refusal(method, values, error) from error
        return message, form

    async def _exchange(self, call: OutgoingCall, message: Message, form: MethodForm) -> Any:
        """Send a call, and return the result; in the thread of the connection."""
        try:
            async with asyncio.timeout(call.seconds_left()):
                bus = await self._connection.bus()
                reply = await bus.exchange(message)
        except TimeoutError:
            raise call.late() from None
        except BusError as error:
            raise UnavailableError(message_of(error), maybe_run=False) from error
        except DBusError as error:
            raise from_dbus(call.method, error) from error
        except Exception as error:  # dbus-fast cannot write a value
            raise refusal(call.method, call.arguments, error) from error
        try:
            return form.result(reply.body)
        except (msgspec.ValidationError, IndexError) as error:
            raise InvalidArgumentsError(explain(error)) from error

    def close(self) -> None:
        """Close the connection; calls that run end with `UnavailableError`."""
        self._connection.close()

    async def close_async(self) -> None:
        """Close the connection, from a coroutine."""
        await asyncio.to_thread(self._connection.close)


def _parts(url: str) -> tuple[str, str]:
    """Return the name on the bus, and which bus it is."""
    parts = urlsplit(url)
    name = parts.path.strip("/")
    if not is_bus_name(name):
        raise UsageError(f"{url!r} is not of the form dbus:NAME, such as dbus:org.you.Name.")
    return name, parse_qs(parts.query).get("bus", ["session"])[0]


def _address(place: str) -> str:
    if place == "session":
        return session_address("rpc-dbus")
    return system_address() if place == "system" else place


class _Connection:
    """A connection to a bus in a thread of its own, made when it is needed."""

    def __init__(self, address: Any) -> None:
        self._address = address
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._bus: Bus | None = None
        self._connecting: asyncio.Lock | None = None
        self._closed = False

    def submit(self, work: Coroutine[Any, Any, Any]) -> Future[Any]:
        """Run a coroutine in the thread."""
        with self._lock:
            if self._closed:
                work.close()
                raise UnavailableError("This client is closed.", maybe_run=False)
            if self._loop is None:
                loop = asyncio.new_event_loop()
                thread = threading.Thread(
                    target=self._run, args=(loop,), name="rpc-dbus client", daemon=True
                )
                try:
                    thread.start()
                except RuntimeError as error:  # the system allows no more threads
                    work.close()
                    loop.close()
                    raise UnavailableError(str(error), maybe_run=False) from error
                self._loop, self._thread = loop, thread
            return asyncio.run_coroutine_threadsafe(work, self._loop)

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        asyncio.set_event_loop(loop)
        try:
            loop.run_forever()
            loop.run_until_complete(self._end())
        finally:
            loop.close()

    async def bus(self) -> Bus:
        """Return a bus that is connected; in the thread.

        Raises:
            BusError: there is none.
        """
        if self._connecting is None:
            self._connecting = asyncio.Lock()
        async with self._connecting:
            if self._bus is None or not self._bus.connected:
                if self._bus is not None:
                    self._bus.close()
                self._bus = await Bus.to(
                    self._address(), lambda bus, message: False, False, MAX_MESSAGE
                )
            return self._bus

    async def _end(self) -> None:
        if self._bus is not None:
            self._bus.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        if others:
            _, late = await asyncio.wait(others, timeout=1.0)
            for each in late:
                each.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    def close(self) -> None:
        """Close it, and wait for the end of the thread."""
        with self._lock:
            self._closed = True
            loop, self._loop = self._loop, None
        if loop is not None and self._thread is not None:
            loop.call_soon_threadsafe(loop.stop)
            self._thread.join()
