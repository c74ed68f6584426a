"""Proxies: objects of others on the bus, called as if they were here."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from dbus_fast import DBusError, Message, Variant, unpack_variants
from dbus_fast.signature import get_signature_tree
from sparts.calls import client_wrapper
from sparts.tasks.dbus.bus import lost_error
from sparts.tasks.dbus.described import DescribedInterface, read_description
from sparts.tasks.dbus.descriptors import (
    close_all,
    duplicated,
    may_have_fds,
    release,
    take_fds,
    with_indices,
)
from sparts.tasks.dbus.errors import OURS, STANDARD, CallTimeoutError, refuse_fds
from sparts.tasks.dbus.types import pack
from sparts.tasks.dbus.validity import UnsupportedTypeError, is_signature
from sparts.tasks.dbus.watches import Heard, Listener, SignalMatch, Subscription
from sparts.tasks.dbus.wrapping import exchange_wrapped

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from dbus_fast.signature import SignatureType
    from sparts.tasks.dbus.bus import Bus

PROPERTIES = "org.freedesktop.DBus.Properties"
INTROSPECTABLE = "org.freedesktop.DBus.Introspectable"
_LONG = 1 << 16
"""Characters of introspection data from which on they are read in a thread: it takes a second for
some megabytes."""
DEFAULT = object()
"""The timeout of a call that gives none: that of the task's options."""


class Client(Listener, Protocol):
    """The task whose connection a proxy uses."""

    @property
    def timeout(self) -> float:
        """Seconds that a call may take by the options; 0: no limit."""

    def subscribe(self, what: SignalMatch | str, callback: Callable[..., Any]) -> Subscription:
        """Listen to signals."""

    def wait_for(self, fn: Callable[..., Awaitable[Any]], *args: Any) -> Any:
        """Run a coroutine function in the loop, wait for its end and return its result."""


class Proxy:
    """An object of another on the bus: ``radio.Tune(99.5)`` calls its method ``Tune``.

    A call blocks until the answer is there; not in the loop's own thread. In coroutines,
    ``await radio.aio.Tune(99.5)``, in those of any event loop. ``radio.submit("Tune", 99.5)`` gives
    a future at once.

    What the arguments are on the bus is learnt from the object's introspection data at the first
    call; or it is given, as ``signature="d"``. One result is returned as itself, several as a
    tuple; variants as plain values; file descriptors as numbers, which are yours to close.

    Args:
        task: whose connection is used.
        name: who is meant: a name on the bus.
        path: the object.
        interface: where the members are; None: in whatever interface has them.
    """

    def __init__(self, task: Client, name: str, path: str, interface: str | None = None) -> None:
        self._task = task
        self.name = name
        self.path = path
        self.interface = interface
        self._known: list[DescribedInterface] | None = None

    # -- calls -------------------------------------------------------------------------------------

    def __getattr__(self, member: str) -> Callable[..., Any]:
        if member.startswith("_"):
            raise AttributeError(member)
        return lambda *args, **options: self.call(member, *args, **options)

    @property
    def aio(self) -> AsyncProxy:
        """The same object for coroutines."""
        return AsyncProxy(self)

    def call(
        self, member: str, *args: Any, signature: str | None = None, timeout: Any = DEFAULT
    ) -> Any:
        """Call a method, wait for its answer and return it; in any thread but the loop's.

        Args:
            member: the name of the method.
            args: its arguments.
            signature: their types on the bus; None: what introspection says.
            timeout: seconds; None: no limit; by default that of the options (25 s).

        Raises:
            DBusError: the other side says so, or it is not there, or the bus is lost.
            CallTimeoutError: no answer came in time.
            UnsupportedTypeError: a bus would not accept the arguments.
            RuntimeError: in the loop's thread, which would wait for itself.
        """
        if threading.current_thread() in self._task.loop_task.threads:
            raise RuntimeError(
                f"{member} would wait for itself in the loop's thread: `await proxy.aio.{member}()`"
            )
        return self.submit(member, *args, signature=signature, timeout=timeout).result()

    def submit(
        self, member: str, *args: Any, signature: str | None = None, timeout: Any = DEFAULT
    ) -> Future[Any]:
        """Call a method, and return a future of its answer; from any thread. See `call`."""
        return self._task.loop_task.call(
            self.call_in_loop, member, args, signature=signature, timeout=timeout
        )

    async def call_in_loop(
        self,
        member: str,
        args: tuple[Any, ...],
        signature: str | None = None,
        timeout: Any = DEFAULT,
        gives: str | None = None,
    ) -> Any:
        """Call a method; in the loop. See `call`; ``gives`` is what it has to return, None: any."""
        seconds = (self._task.timeout or None) if timeout is DEFAULT else timeout
        try:
            async with asyncio.timeout(seconds):
                interface = self.interface
                if signature is None:
                    interface, signature = await self._method(member)
                return await self._exchange(interface, member, signature, args, gives)
        except TimeoutError as error:
            raise CallTimeoutError(
                f"{self.name} did not answer {member} at {self.path} within {seconds:g} s."
            ) from error

    async def _exchange(
        self,
        interface: str | None,
        member: str,
        signature: str,
        args: tuple[Any, ...],
        gives: str | None,
    ) -> Any:
        if not is_signature(signature):
            raise UnsupportedTypeError(f"{signature!r} is no signature.")
        tree = get_signature_tree(signature)
        if len(tree.types) != len(args):
            raise TypeError(
                f"{member} needs arguments of {signature!r}: {len(tree.types)}, not {len(args)}."
            )
        body = [_encoded(kind, value) for kind, value in zip(tree.types, args, strict=True)]
        files: list[Any] = []
        if may_have_fds(signature):
            body, files = with_indices(tree, body)
        bus = self._bus()
        if files:
            refuse_fds(bus.passes_fds)
        fds = duplicated(files)
        message = Message(
            self.name, self.path, interface, member, signature=tree, body=body, unix_fds=fds
        )
        wrapper = client_wrapper(is_async=True)
        try:
            if wrapper is None:
                reply = await bus.exchange(message)
            else:
                reply = await exchange_wrapped(wrapper, self._task, bus, message)
        finally:
            close_all(fds)
        if gives is not None and reply.signature != gives:
            release(reply)
            text = (
                f"{member} of {self.name} {self.path} answers {reply.signature!r}, not {gives!r}."
            )
            raise DBusError(STANDARD + "InvalidSignature", text)
        values = unpack_variants(take_fds(reply) if reply.unix_fds else reply.body)
        return None if not values else values[0] if len(values) == 1 else tuple(values)

    def _bus(self) -> Bus:
        bus = self._task.bus
        if bus is None:
            raise lost_error()
        return bus

    # -- introspection -----------------------------------------------------------------------------

    async def _interfaces(self) -> list[DescribedInterface]:
        if self._known is None:
            message = Message(self.name, self.path, INTROSPECTABLE, "Introspect")
            said = await self._bus().request(message)
            if len(said) != 1 or not isinstance(said[0], str):
                raise DBusError(OURS + "Introspection", f"{self!r} does not describe itself.")
            xml, debug = said[0], self._task.logger.debug
            read = partial(read_description, xml, lambda odd: debug("%r: left out: %s", self, odd))
            self._known = await asyncio.to_thread(read) if len(xml) > _LONG else read()
        return [i for i in self._known if self.interface in (None, i.name)]

    async def _method(self, member: str) -> tuple[str, str]:
        for fresh in (False, True):  # it may have learnt more since it was asked
            asked = self._known is None
            for interface in await self._interfaces():
                if member in interface.methods:
                    return interface.name, interface.methods[member]
            if asked or fresh:
                break
            self._known = None
        where = self.interface or f"any interface of {self.path}"
        raise DBusError(
            STANDARD + "UnknownMethod", f"{self.name} has no method {member} in {where}."
        )

    async def _property(self, name: str) -> tuple[str, str]:
        for interface in await self._interfaces():
            if name in interface.properties:
                return interface.name, interface.properties[name]
        where = self.interface or f"any interface of {self.path}"
        raise DBusError(
            STANDARD + "UnknownProperty", f"{self.name} has no property {name} in {where}."
        )

    # -- properties --------------------------------------------------------------------------------

    def get(self, name: str) -> Any:
        """Return the value of a property; blocks as `call` does."""
        return self._task.wait_for(self.get_in_loop, name)

    def set(self, name: str, value: Any) -> None:
        """Set a property; blocks as `call` does."""
        self._task.wait_for(self.set_in_loop, name, value)

    def get_all(self) -> dict[str, Any]:
        """Return all properties by name; blocks as `call` does."""
        found: dict[str, Any] = self._task.wait_for(self.get_all_in_loop)
        return found

    async def get_in_loop(self, name: str) -> Any:
        """Return the value of a property; in the loop."""
        interface = self.interface or (await self._property(name))[0]
        return await self._properties("Get", (interface, name), "ss", "v")

    async def set_in_loop(self, name: str, value: Any) -> None:
        """Set a property; in the loop."""
        interface, signature = await self._property(name)
        kind = get_signature_tree(signature).types[0]
        packed = Variant(signature, _encoded(kind, value))
        await self._properties("Set", (interface, name, packed), "ssv", "")

    async def get_all_in_loop(self) -> dict[str, Any]:
        """Return all properties by name; in the loop."""
        found: dict[str, Any] = {}
        names = [self.interface]
        if not self.interface:
            names = [i.name for i in await self._interfaces() if i.properties]
        for name in names:
            found |= await self._properties("GetAll", (name,), "s", "a{sv}")
        return found

    async def _properties(
        self, member: str, args: tuple[Any, ...], signature: str, gives: str
    ) -> Any:
        standard = Proxy(self._task, self.name, self.path, PROPERTIES)
        return await standard.call_in_loop(member, args, signature=signature, gives=gives)

    # -- signals -----------------------------------------------------------------------------------

    def on(
        self, member: str | None, callback: Callable[..., Any], interface: str | None = None
    ) -> Subscription:
        """Have a function called, in the loop, with the arguments of each signal of the object.

        From any thread; outside of the loop, it returns once the bus has the rule. The
        subscription outlives a lost bus, and a restart of the other side.

        Args:
            member: the name of the signal; None: all.
            callback: the function; it must not block.
            interface: that of the signal; None: the proxy's, or any if it has none.
        """
        what = SignalMatch(self.name, self.path, interface or self.interface, member)
        return self._task.subscribe(what, callback)

    def signals(self, member: str | None, interface: str | None = None) -> Heard:
        """Return what the object signals, for ``async with`` and ``async for``; see `Heard`."""
        return Heard(lambda callback: self.on(member, callback, interface))

    def __repr__(self) -> str:
        return f"<Proxy of {self.name} {self.path}>"


class AsyncProxy:
    """A proxy for coroutines, on the task's loop or any other of asyncio's."""

    def __init__(self, proxy: Proxy) -> None:
        self._proxy = proxy

    def __getattr__(self, member: str) -> Callable[..., Awaitable[Any]]:
        if member.startswith("_"):
            raise AttributeError(member)
        return lambda *args, **options: self.call(member, *args, **options)

    async def call(
        self, member: str, *args: Any, signature: str | None = None, timeout: Any = DEFAULT
    ) -> Any:
        """Call a method, and return its answer; see `Proxy.call`."""
        return await self._run(
            self._proxy.call_in_loop, member, args, signature=signature, timeout=timeout
        )

    async def get(self, name: str) -> Any:
        """Return the value of a property."""
        return await self._run(self._proxy.get_in_loop, name)

    async def set(self, name: str, value: Any) -> None:
        """Set a property."""
        await self._run(self._proxy.set_in_loop, name, value)

    async def get_all(self) -> dict[str, Any]:
        """Return all properties by name."""
        found: dict[str, Any] = await self._run(self._proxy.get_all_in_loop)
        return found

    async def _run(self, fn: Callable[..., Awaitable[Any]], *args: Any, **options: Any) -> Any:
        loop_task = self._proxy._task.loop_task
        if threading.current_thread() in loop_task.threads:
            return await fn(*args, **options)
        return await asyncio.wrap_future(loop_task.call(fn, *args, **options))


def _encoded(kind: SignatureType, value: Any) -> Any:
    """Return a Python value as dbus-fast writes one of a type: variants packed."""
    signature, children = kind.signature, kind.children
    if signature == "v":
        return pack(value)
    if signature == "ay":
        return bytes(value)
    if signature.startswith("a{"):
        key, item = children[0].children
        return {_encoded(key, k): _encoded(item, v) for k, v in value.items()}
    if signature.startswith("a"):
        return [_encoded(children[0], item) for item in value]
    if signature.startswith("("):
        return [_encoded(child, item) for child, item in zip(children, value, strict=True)]
    return value
