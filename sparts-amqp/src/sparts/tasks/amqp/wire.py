"""One AMQP connection, read and written by one thread at a time, and blocked by neither.

py-amqp knows the protocol; the socket is ours. py-amqp's own transport waits in the middle of a
frame, sends each frame by itself, and blocks while the broker does not read. `Wire` collects what
is to be sent, and splits what it receives into frames.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import ssl
import threading
from collections import deque
from math import inf
from struct import Struct
from time import monotonic
from typing import TYPE_CHECKING, Any

from sparts.tasks.amqp.errors import BrokenError

import amqp
from amqp import sasl, spec
from amqp.exceptions import ChannelError, error_for_code
from amqp.transport import AMQP_PROTOCOL_HEADER

if TYPE_CHECKING:
    from collections.abc import Callable

    from sparts.tasks.amqp.addresses import Address

_HEADER = Struct(">BHI")
_FRAME_END = 206
_CONTENT_HEADER = 2
UNREADABLE = "sparts.unreadable"
"""The type that a message gets whose properties cannot be read: it must not end the connection, or
the broker would deliver it to the next one."""
_UNREADABLE = b"\x00\x20" + bytes([len(UNREADABLE)]) + UNREADABLE.encode()
_CHUNK = 256 * 1024
_BUSY = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
ANSWER_TIMEOUT = 30.0
"""Seconds in which a broker must answer what it is asked."""


if TYPE_CHECKING:

    class _Channel:  # the library has no types
        def __init__(self, *args: Any, **kwargs: Any) -> None: ...
        def __getattr__(self, name: str) -> Any: ...
        def dispatch_method(self, *args: Any) -> None: ...
        def wait(self, *args: Any, **kwargs: Any) -> Any: ...
        def _on_basic_deliver(self, *args: Any) -> None: ...
        def _on_get_ok(self, *args: Any) -> Any: ...

    class _Connection(_Channel): ...

else:
    _Channel, _Connection = amqp.Channel, amqp.Connection


class Plug:
    """The socket of a `Wire`, and what is to be sent by it."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self.connected: bool = False
        self.sock: Any = None
        self.out: Any = bytearray()

    def connect(self) -> None:
        """Connect, and agree on TLS; blocks as long as the address allows."""
        at = self.address
        if self.connected:
            return
        context = at.context() if at.tls else None
        sock = socket.create_connection((at.host, at.port), at.connect_timeout)
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if context is not None:
                sock = context.wrap_socket(sock, server_hostname=at.server_name or at.host)
            sock.setblocking(False)
        except BaseException:
            sock.close()
            raise
        self.sock = sock
        self.connected = True
        self.write(AMQP_PROTOCOL_HEADER)

    def write(self, data: Any) -> None:
        """Have bytes sent soon."""
        self.out += data

    def close(self) -> None:
        """Close the socket, whatever is left to be sent."""
        self.connected = False
        if self.sock is not None:
            self.sock.close()
            self.sock = None


class Channel(_Channel):
    """A channel that stays closed when the broker has closed it."""

    def wait(self, *args: Any, **kwargs: Any) -> Any:
        """Wait for an answer, not forever; called by the library."""
        self.connection.answer_by = monotonic() + self.connection.answer_timeout
        return super().wait(*args, **kwargs)

    def consume(
        self,
        queue: str,
        prefetch: int,
        delivered: Callable[[amqp.Message], object],
        cancelled: Callable[[str], object] | None = None,
    ) -> str:
        """Have messages delivered, at most ``prefetch`` (0: any number) that are not acknowledged.

        A message may come before this returns the consumer's tag.
        """
        tag = f"{queue}.{self.channel_id}"
        self.callbacks[tag] = delivered  # py-amqp would set it too late for the first
        self.basic_qos(0, prefetch, False)
        self.basic_consume(queue, tag, callback=delivered, on_cancel=cancelled)
        return tag

    def dispatch_method(self, method: tuple[int, int], payload: bytes, content: Any) -> None:
        """Handle a method that has come; called by the library."""
        try:
            super().dispatch_method(method, payload, content)
        except UnicodeDecodeError:
            if method != spec.Basic.Deliver or (plain := _in_ascii(payload)) == payload:
                raise
            super().dispatch_method(method, plain, content)

    def _on_basic_deliver(self, *args: Any) -> None:
        super()._on_basic_deliver(*args[:-1], _in_bytes(args[-1]))

    def _on_get_ok(self, *args: Any) -> amqp.Message:
        return super()._on_get_ok(*args[:-1], _in_bytes(args[-1]))

    def _on_close(self, reply_code: int, reply_text: str, class_id: int, method_id: int) -> None:
        self.send_method(spec.Channel.CloseOk)
        closing = self.is_closing
        self.collect()
        if not closing:
            method = (class_id, method_id)
            raise error_for_code(reply_code, reply_text, method, ChannelError)


def _in_bytes(message: amqp.Message) -> amqp.Message:
    message.body = message.body or b""  # of an empty one, py-amqp makes a str
    return message


def _in_ascii(delivery: bytes) -> bytes:
    """Return the arguments of a delivery with the exchange's name and the routing key in ASCII."""
    start = 15 + delivery[4]  # after the method, the consumer's tag, the delivery's, and a bit
    key = start + delivery[start - 1] + 1
    names = [part.decode("ascii", "replace").encode("ascii", "replace")
             for part in (delivery[start : key - 1], delivery[key:])]  # fmt: skip
    return delivery[:start] + names[0] + delivery[key - 1 : key] + names[1]


class Wire(_Connection):
    """A connection to a broker. All of it is used by the thread that has made it, and by others
    with ``turns``, while that one waits in `step`.

    Args:
        address: the broker's.
        wake: a descriptor that is readable when the thread has something else to do.
        name: how the broker's lists show this connection.
        on_blocked: called with True when the broker asks for no more publishes, and with False.
    """

    def __init__(
        self, address: Address, wake: int, name: str, on_blocked: Callable[[bool], None]
    ) -> None:
        if address.user:
            login: Any = (sasl.PLAIN(address.user, address.password),)
        else:
            login = (sasl.EXTERNAL(),)
        super().__init__(
            host=f"{address.host}:{address.port}",
            authentication=login,
            virtual_host=address.vhost,
            client_properties={"connection_name": name, "product": "sparts-amqp"},
            connect_timeout=address.connect_timeout,
            heartbeat=max(1, round(address.heartbeat)),
            on_blocked=lambda _: on_blocked(True),
            on_unblocked=lambda: on_blocked(False),
        )
        self.address = address
        self.failed: deque[tuple[Any, Exception]] = deque()
        """Channels that the broker has closed, and why."""
        self.answer_timeout = ANSWER_TIMEOUT
        self.answer_by: float = inf
        self.turns: threading.Lock = threading.Lock()
        """Held by the thread that uses the connection now."""
        self.turns.acquire()
        self._wake = wake
        self._newest = 0
        self._inbox = bytearray()
        self._alone, self._both = select.poll(), select.poll()
        self._both.register(wake, select.POLLIN)
        self._heard = self._said = monotonic()

    def Transport(self, *_: Any, **__: Any) -> Plug:  # noqa: N802 - py-amqp's name
        """Return the socket; called by ``connect``."""
        return Plug(self.address)

    def open(self) -> None:
        """Connect and log in.

        Raises:
            OSError: there is no broker that answers.
            amqp.AMQPError: it does not let us in.
        """
        try:
            self.connect()
        except amqp.AMQPError:
            self.collect()
            raise

    def new_channel(self) -> Channel:
        """Open a channel on which the broker confirms what it has taken."""
        number = self._newest % self.channel_max + 1
        while number in self.channels:
            number = number % self.channel_max + 1
        self._newest = number  # a new one each time: of the last, deliveries may still come
        channel = Channel(self, number, auto_decode=False)
        channel.open()
        channel.confirm_select()
        return channel

    @property
    def unsent(self) -> int:
        """How many bytes wait to be sent."""
        return len(self.open_transport.out)

    @property
    def open_transport(self) -> Plug:
        """The socket; `BrokenError` if it was closed."""
        if self._transport is None:
            raise BrokenError("the connection was closed")
        return self._transport  # type: ignore[no-any-return]

    def step(self, deadline: float) -> None:
        """Send and receive; wait until there is something to do, or ``deadline``.

        Raises:
            OSError: the connection is lost; `BrokenError` if the broker is silent.
        """
        self._beat()
        until = min(deadline, self._said + self.heartbeat / 2, self._heard + 2 * self.heartbeat)
        self._turn(until, self._both, self._rest)

    def _rest(self, milliseconds: float) -> list[tuple[int, int]]:
        """Wait for events, and let other threads send meanwhile."""
        self.turns.release()
        try:
            return self._both.poll(milliseconds)
        finally:
            self.turns.acquire()

    def wait(self, *args: Any, **kwargs: Any) -> Any:
        """Wait for an answer, not forever; called by the library."""
        self.answer_by = monotonic() + self.answer_timeout
        return super().wait(*args, **kwargs)

    def drain_events(self, timeout: float | None = None) -> None:
        """Handle what comes, for py-amqp while it waits for an answer."""
        until = min(monotonic() + (timeout or self.answer_timeout), self.answer_by)
        if self._handshake_complete:
            self._beat()
            until = min(until, self._heard + 2 * self.heartbeat)
        self._turn(until, self._alone, self._alone.poll)
        if monotonic() >= until:
            raise BrokenError("the broker did not answer in time")

    def _beat(self) -> None:
        now = monotonic()
        if now >= self._heard + 2 * self.heartbeat:
            raise BrokenError(f"the broker was silent for {2 * self.heartbeat} s")
        if now >= self._said + self.heartbeat / 2 and not self.unsent:
            self.send_heartbeat()

    def _turn(
        self, until: float, poll: select.poll, wait: Callable[[float], list[tuple[int, int]]]
    ) -> None:
        self.flush()
        if self._dispatch():  # what came while an answer was waited for
            return
        wanted = select.POLLIN | (select.POLLOUT if self.unsent else 0)
        sock = self.open_transport.sock
        poll.register(sock, wanted)
        for fd, event in wait(max(0.0, until - monotonic()) * 1000):
            if fd == self._wake:
                with contextlib.suppress(BlockingIOError):
                    os.read(fd, 4096)
            elif event & ~select.POLLOUT:
                self._receive()
        self._dispatch()
        if self._transport is not None:  # else it was closed in order
            self.flush()

    def flush(self) -> None:
        """Send what can be sent at once."""
        transport = self.open_transport
        out = transport.out
        while out:
            try:
                with memoryview(out) as view:
                    sent = transport.sock.send(view[:_CHUNK])
            except _BUSY:
                return
            del out[:sent]
            self._said = monotonic()

    def _receive(self) -> None:
        sock, inbox = self.open_transport.sock, self._inbox
        while True:
            try:
                data = sock.recv(_CHUNK)
            except _BUSY:
                return
            if not data:
                raise BrokenError("the broker has closed the connection")
            inbox += data
            self._heard = monotonic()
            if not (isinstance(sock, ssl.SSLSocket) and sock.pending()):
                return

    def _dispatch(self) -> bool:
        """Handle the frames that are whole; False: there is none."""
        inbox, found = self._inbox, False
        while len(inbox) >= 8:
            kind, number, size = _HEADER.unpack_from(inbox)
            end = 7 + size
            if len(inbox) <= end:
                break
            if inbox[end] != _FRAME_END:
                raise BrokenError("what the broker sends is no AMQP")
            payload = bytes(memoryview(inbox)[7:end])
            del inbox[: end + 1]
            found = True
            channel = self.channels.get(number)
            if channel is None:  # it was sent before the broker knew that the channel is closed
                continue
            try:
                try:
                    self.on_inbound_frame((kind, number, payload))
                except Exception:  # no UTF-8, a time after the year 9999, tables 1,000 deep ...
                    if kind != _CONTENT_HEADER:
                        raise
                    self.on_inbound_frame((kind, number, payload[:12] + _UNREADABLE))
            except ChannelError as error:
                if not number or channel._pending:  # somebody waits for it
                    raise
                self.failed.append((channel, error))
        return found

    def drop(self) -> None:
        """Close the socket, without a word to the broker."""
        for poll in (self._alone, self._both):
            with contextlib.suppress(KeyError, ValueError, OSError, AttributeError):
                poll.unregister(self._transport.sock)
        self.collect()
