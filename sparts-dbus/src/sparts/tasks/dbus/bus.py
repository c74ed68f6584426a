"""A connection to a bus, and how its address is found."""

from __future__ import annotations

import asyncio
import contextlib
import os
from typing import TYPE_CHECKING, Any

from dbus_fast import DBusError, InvalidAddressError, Message
from dbus_fast.aio import MessageBus
from sparts.errors import message_of
from sparts.tasks.dbus.errors import STANDARD, BusError, raise_error_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

DAEMON = "org.freedesktop.DBus"
DAEMON_PATH = "/org/freedesktop/DBus"
SYSTEM_ADDRESS = "unix:path=/var/run/dbus/system_bus_socket"

#: Seconds that connecting to a bus may take.
CONNECT_TIMEOUT = 10.0
#: Seconds that the bus daemon itself may take to answer a call.
ANSWER_TIMEOUT = 25.0


def session_address(prefix: str) -> str:
    """Return the address of the session bus of this process.

    https://dbus.freedesktop.org/doc/dbus-specification.html#message-bus-types-login

    Args:
        prefix: that of the options that choose another bus, for the error.

    Raises:
        BusError: there is none; the message says what to do.
    """
    if address := os.environ.get("DBUS_SESSION_BUS_ADDRESS"):
        return address
    socket = os.path.join(os.environ.get("XDG_RUNTIME_DIR", ""), "bus")
    if os.path.isabs(socket) and os.path.exists(socket):
        return f"unix:path={socket}"
    raise BusError(
        "There is no session bus: DBUS_SESSION_BUS_ADDRESS is not set, and XDG_RUNTIME_DIR has no "
        "socket named bus. Start the service by `dbus-run-session`, or choose another bus with "
        f"--{prefix}-system-bus or --{prefix}-address."
    )


def system_address() -> str:
    """Return the address of the system bus."""
    return os.environ.get("DBUS_SYSTEM_BUS_ADDRESS") or SYSTEM_ADDRESS


class Bus(MessageBus):
    """A connection to a bus; used in the loop's thread alone."""

    passes_fds = False
    """Whether messages may have file descriptors."""

    @classmethod
    async def to(cls, address: str, handle: Callable[[Bus, Message], Any], passes_fds: bool) -> Bus:
        """Connect to the bus at an address, and have its messages handled.

        Args:
            address: where the bus is.
            handle: called with each message.
            passes_fds: whether messages may have file descriptors, which makes each dearer.

        Raises:
            BusError: nobody answers there, or the bus refuses; the message says so.
        """
        try:
            bus = cls(bus_address=address, negotiate_unix_fd=passes_fds)
        except (InvalidAddressError, ValueError) as error:
            raise BusError(f"{address!r} is no address of a bus: {error}") from error
        bus.passes_fds = passes_fds

        def handle_with_fds(message: Message) -> Any:
            if not message.unix_fds:  # else the next message's would be put into the same list
                message.unix_fds = []
            return handle(bus, message)

        bus.add_message_handler(
            handle_with_fds if passes_fds else lambda message: handle(bus, message)
        )
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                await bus.connect()
        except TimeoutError as error:
            raise BusError(
                f"No answer from the bus at {address} in {CONNECT_TIMEOUT:g} s."
            ) from error
        except Exception as error:  # whatever the handshake meets
            why = message_of(error)
            raise BusError(f"There is no bus at {address}: {why}") from error
        return bus

    def close(self) -> None:
        """End the connection at once; what is under way on it fails."""
        if not self._disconnect_future.done():  # else its descriptor's number may be another's
            self.disconnect()
            self._finalize(None)
        self._why_it_ended()  # so that asyncio does not think that nobody cares

    async def lost(self) -> BaseException | None:
        """Wait until the connection has ended, and return why."""
        await asyncio.wait([self._disconnect_future])
        return self._why_it_ended()

    def _why_it_ended(self) -> BaseException | None:
        future = self._disconnect_future
        return future.exception() if future.done() and not future.cancelled() else None

    def send_quietly(self, message: Message, close: Sequence[int] = ()) -> None:
        """Send a message; a bus that is lost meanwhile is no error of the sender's.

        Args:
            message: what to send.
            close: descriptors to close once it is sent.

        Raises:
            Exception: the body is not of its signature.
        """

        def sent(future: asyncio.Future[None]) -> None:
            for fd in close:
                os.close(fd)

        if not self.connected:
            close_all(close)
            return
        try:
            future = self.send(message)
        except BaseException:
            close_all(close)
            raise
        if future.done():
            sent(future)
        else:
            future.add_done_callback(sent)

    async def ask(self, member: str, signature: str = "", *body: Any) -> list[Any]:
        """Call a method of the bus daemon itself, and return what it replies.

        Raises:
            DBusError: it refuses, or does not answer in `ANSWER_TIMEOUT` seconds.
        """
        call = Message(DAEMON, DAEMON_PATH, DAEMON, member, signature=signature, body=list(body))
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT):
                return await self.request(call)
        except TimeoutError as error:
            why = f"The bus did not answer {member} in {ANSWER_TIMEOUT:g} s."
            raise DBusError(STANDARD + "NoReply", why) from error

    async def request(self, message: Message) -> list[Any]:
        """Send a call, and return the body of its reply.

        Raises:
            DBusError: the reply is an error, or the bus is lost.
        """
        reply = await self.exchange(message)
        return list(reply.body)

    async def exchange(self, message: Message) -> Message:
        """Send a call, and return its reply.

        Raises:
            DBusError: the reply is an error, or the bus is lost.
        """
        if not self.connected:
            raise lost_error()
        try:
            reply: Message | None = await self.call(message)
        except (OSError, EOFError) as error:
            raise lost_error() from error
        if reply is None:
            raise lost_error()
        raise_error_of(reply)
        return reply

    def send(self, msg: Message) -> asyncio.Future[None]:  # type: ignore[override]
        """Send a message. If the bus is lost, a future that nobody awaits is not logged."""
        try:
            future: asyncio.Future[None] = super().send(msg)
        except OSError:  # it was lost in the midst of the sending
            if self._writer is not None and self._writer.fut is not None:
                _retrieve(self._writer.fut)
            raise
        if future.done():
            _retrieve(future)
        else:
            future.add_done_callback(_retrieve)
        return future

    def _reply_handler(self, future: asyncio.Future[Any], reply: Any, err: Any) -> None:
        if future.done() and reply is not None:  # the caller waits no more
            close_all(getattr(reply, "unix_fds", ()))
        super()._reply_handler(future, reply, err)
        _retrieve(future)  # its caller may have got an error from the sending


def _retrieve(future: asyncio.Future[Any]) -> None:
    """Note that the exception of a future is known, so that asyncio does not log it."""
    if future.done() and not future.cancelled():
        future.exception()


def lost_error() -> DBusError:
    """Return the error of a call whose bus is lost."""
    return DBusError(STANDARD + "Disconnected", "The bus was lost before the answer came.")


def close_all(fds: Sequence[int]) -> None:
    """Close file descriptors."""
    for fd in fds:
        with contextlib.suppress(OSError):
            os.close(fd)
