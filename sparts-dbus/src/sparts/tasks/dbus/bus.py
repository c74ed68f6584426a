"""A connection to a bus, and how its address is found."""

from __future__ import annotations

import asyncio
import os
import socket
from typing import TYPE_CHECKING, Any

from dbus_fast import DBusError, InvalidAddressError, Message, MessageType
from dbus_fast.aio import MessageBus
from sparts.errors import message_of
from sparts.tasks.dbus.descriptors import close_all, release
from sparts.tasks.dbus.errors import STANDARD, BusError, raise_error_of
from sparts.tasks.dbus.validity import UnsupportedTypeError, check_message

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

    def __init__(
        self, address: str, handle: Callable[[Bus, Message], Any], passes_fds: bool
    ) -> None:
        super().__init__(bus_address=address, negotiate_unix_fd=passes_fds)
        self.passes_fds = passes_fds
        """Whether messages may have file descriptors."""
        self._handle = handle
        self._awaited: dict[int, asyncio.Future[Message | None]] = {}  # replies, by the call
        self.add_message_handler(self._came)

    @classmethod
    async def to(
        cls,
        address: str,
        handle: Callable[[Bus, Message], Any],
        passes_fds: bool,
        max_message: int,
    ) -> Bus:
        """Connect to the bus at an address, and have its messages handled.

        Args:
            address: where the bus is.
            handle: called with each call and signal; true if that is all to be done. The
                descriptors of the message are closed afterwards, unless it was true.
            passes_fds: whether messages may have file descriptors, which makes each dearer.
            max_message: how many bytes a message may have that is sent.

        Raises:
            BusError: nobody answers there, or the bus refuses; the message says so.
        """
        try:
            bus = cls(address, handle, passes_fds)
        except (InvalidAddressError, ValueError) as error:
            raise BusError(f"{address!r} is no address of a bus: {error}") from error
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
        writer: Any = bus._writer
        writer.sock = _PatientSocket(writer.sock)
        writer.buffer_message = _Limited(writer, max_message)
        return bus

    def _came(self, message: Message) -> bool:
        """Act on a message, and close the descriptors that nobody takes."""
        if self.passes_fds and not message.unix_fds:
            message.unix_fds = []  # else the next message's would be put into the same list
        taken = False
        try:
            kind = message.message_type
            if kind is MessageType.METHOD_CALL or kind is MessageType.SIGNAL:
                taken = bool(self._handle(self, message))
            else:
                future = self._awaited.pop(message.reply_serial, None)
                if future is not None and not future.done():
                    future.set_result(message)
                    taken = True
        finally:
            if not taken:
                release(message)
        return taken

    def _finalize(self, err: Exception | None = None) -> None:
        super()._finalize(err)
        awaited, self._awaited = self._awaited, {}
        for future in awaited.values():
            if not future.done():
                future.set_result(None)

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
            close_all(close)

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
        """Send a call, and return the body of its reply; descriptors in it are closed.

        Raises:
            DBusError: the reply is an error, or the bus is lost.
        """
        reply = await self.exchange(message)
        release(reply)
        return list(reply.body)

    async def exchange(
        self, message: Message, numbered: Callable[[int], object] | None = None
    ) -> Message:
        """Send a call, and return its reply, whose descriptors are the caller's.

        Args:
            message: the call.
            numbered: called with the number of the message before it is sent.

        Raises:
            DBusError: the reply is an error, or the bus is lost.
            UnsupportedTypeError: a bus would not accept the call.
        """
        if not self.connected:
            raise lost_error()
        message.serial = self.next_serial()
        if numbered is not None:
            numbered(message.serial)
        future: asyncio.Future[Message | None] = asyncio.get_running_loop().create_future()
        self._awaited[message.serial] = future
        try:
            self.send(message)
            reply = await future
        except BaseException as error:
            self._awaited.pop(message.serial, None)
            if future.done() and not future.cancelled() and (came := future.result()):
                release(came)  # it came when the caller waited no more
            if isinstance(error, OSError | EOFError):
                raise lost_error() from error
            raise
        if reply is None:
            raise lost_error()
        if reply.error_name:
            release(reply)
        raise_error_of(reply)
        return reply

    def send(self, msg: Message) -> asyncio.Future[None]:  # type: ignore[override]
        """Send a message. If the bus is lost, a future that nobody awaits is not logged.

        Raises:
            UnsupportedTypeError: a bus would not accept it.
        """
        check_message(msg)
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


class _Limited:
    """Buffers messages to send, as dbus-fast's writer does, but none for which a bus disconnects.

    Raises:
        UnsupportedTypeError: when called with a message that is too large.
    """

    def __init__(self, writer: Any, max_message: int) -> None:
        self._messages = writer.messages
        self._buffer = writer.buffer_message
        self._max = max_message

    def __call__(self, msg: Message, future: asyncio.Future[None] | None = None) -> None:
        self._buffer(msg, future)
        length = len(self._messages[-1][0])
        if length > self._max:
            self._messages.pop()
            raise UnsupportedTypeError(
                f"A message of {length} bytes is too large: --dbus-max-message is {self._max}."
            )


class _PatientSocket:
    """The socket as dbus-fast writes to it: one that is full takes nothing, which is no error.

    dbus-fast 5.2 tries to write at once, also when an earlier message fills the socket, and takes
    the refusal for the end of the connection.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._descriptors: Any = None  # those of a message that is not written yet

    def send(self, data: Any) -> int:
        """Write what goes in, and return how much that was."""
        try:
            if self._descriptors is None:
                return self._sock.send(data)
            written = self._sock.sendmsg([data], self._descriptors)
        except BlockingIOError:
            return 0
        self._descriptors = None
        return written

    def sendmsg(self, data: list[Any], descriptors: Any) -> int:
        """Write what goes in; the descriptors go with the first of it."""
        self._descriptors = descriptors
        return self.send(data[0])


def _retrieve(future: asyncio.Future[Any]) -> None:
    """Note that the exception of a future is known, so that asyncio does not log it."""
    if future.done() and not future.cancelled():
        future.exception()


def lost_error() -> DBusError:
    """Return the error of a call whose bus is lost."""
    return DBusError(STANDARD + "Disconnected", "The bus was lost before the answer came.")
