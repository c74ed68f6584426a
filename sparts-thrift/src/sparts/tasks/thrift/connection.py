"""One connection of a client: frames come in, are answered one after the other, and go out.

What comes in next is read when what came before has been answered and the answer has been taken.
So each client has one call under way at a time, however many it has sent, its answers come in
order, and one that does not read is not read from.

Mostly it is the epoll of all that tells when to go on. Of a client that is the only one, a thread
of its own waits in the read, from where it is woken sooner: the connection is *attended*.
"""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
from struct import Struct
from threading import Lock
from time import monotonic
from typing import TYPE_CHECKING, Any, TypeVar

from sparts.errors import message_of
from sparts.thrift.calls import Caller, current
from sparts.thrift.processor import RefusedError
from sparts.thrift.wire import WireError

if TYPE_CHECKING:
    from collections.abc import Callable

    from _typeshed import ReadableBuffer
    from sparts.tasks.thrift.engine import Engine

_Given = TypeVar("_Given")
_Result = TypeVar("_Result")

_LENGTH = Struct(">I")
_CHUNK = 1 << 16
"""Bytes that are read at once; more for a frame that is known to be larger."""
_LARGE_CHUNK = 1 << 20
_TURN = 64
"""Frames that are answered before the others have their turn."""
_GOING = select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR
_AT_ONCE = socket.MSG_DONTWAIT
_WAIT = socket.MsgFlag(0)
_FAMILIAR = 16
"""Turns that a client has had before a thread is given to it alone."""
_ESTABLISHED = 1  # the state of a TCP connection that neither end has closed (netinet/tcp.h)
_WOULD_BLOCK = (BlockingIOError, InterruptedError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class Connection:
    """A connection, worked on by one thread at a time: the one that holds its ``claim``.

    A thread that comes while another works on it leaves a note (``again``) and goes.
    """

    __slots__ = (
        "_complained", "_data", "_drained", "_flags", "_going", "_partial", "_place", "_receive",
        "_released", "_send", "_turns", "_unsent", "_wanted",
        "active", "again", "attended", "began", "caller", "claim", "engine", "sock",
    )  # fmt: skip

    def __init__(self, engine: Engine, sock: socket.socket, address: Any) -> None:
        self.engine = engine
        self.sock = sock
        self.caller = Caller(address)
        self.claim = Lock()
        self.again = False
        self.active = monotonic()
        """When something was last answered, where that matters."""
        self.began = 0.0
        """When the request or answer began that has not come or gone wholly; 0.0: none has."""
        self.attended = False
        """Whether a thread waits for this client alone, in the read, and keeps the claim."""
        self._released = False
        self._turns = 0
        self._flags = _AT_ONCE
        self._receive: Callable[[int, int], bytes] = sock.recv
        self._send: Callable[[ReadableBuffer, int], int] = sock.send
        self._data = b""
        self._place = 0
        self._partial: bytearray | None = None
        self._wanted = 4
        self._unsent: memoryview | None = None
        self._complained = False
        self._drained = False
        self._going = False

    # -- whose turn it is --------------------------------------------------------------------------

    def resume(self, events: int) -> None:
        """Go on: something may be there to be read, or there is room to write."""
        self.again = True
        if events & _GOING:
            self._going = True
        if self.claim.acquire(False):
            self.advance()

    def advance(self) -> None:
        """Do what there is to do; the claim is held."""
        current.set(self.caller)
        while True:
            self.again = False
            try:
                if not self._work():
                    return
                if self.attended:
                    continue
            except (OSError, WireError) as error:
                self._end(error)
                return
            except Exception:
                self.engine.logger.exception("%s was closed: it could not be served", self.caller)
                self.close()
                return
            self.claim.release()
            if not self.again or not self.claim.acquire(False):
                return

    def answered(self, answer: bytes) -> None:
        """Send the answer to a call that had to wait, and go on; the claim is held."""
        try:
            self._transmit(answer)
        except OSError as error:
            self._end(error)
        else:
            self.advance()

    def answered_elsewhere(self, answer: bytes) -> None:
        """Do the same in a thread that shall not make calls."""
        try:
            self._transmit(answer)
        except OSError as error:
            self._end(error)
            return
        if self.engine.over:
            self.close()
            return
        more = self._place < len(self._data) or self.engine.draining
        self.claim.release()
        if more or self.again:
            self.engine.requeue(self)

    # -- working; all of it with the claim ---------------------------------------------------------

    def _work(self) -> bool:
        """Read, call and answer until there is nothing to do; False: the claim is kept."""
        if self._unsent is not None and not self._flush():
            return True
        engine = self.engine
        read, longest, end = engine.read, engine.max_frame, 0
        self._drained = False
        for _ in range(_TURN):
            while True:
                data, place = self._data, self._place
                start = place + 4
                if start <= len(data):
                    length: int = _LENGTH.unpack_from(data, place)[0]
                    end = start + length
                    if end <= len(data) and 0 < length <= longest:
                        break
                if place < len(data):
                    self._keep_rest()
                # Looked at after `attended` was set: who changes `alone` looks at that afterwards.
                if self.attended and (self._partial is not None or not engine.alone):
                    self.leave()
                if (self._drained or not self._read()) and not (engine.alone and self._attend()):
                    return self._nothing_there()
            self._place = end
            try:
                call = read(data, start, end)
            except RefusedError as refused:
                answer: bytes | None = self._refuse(refused)
            else:
                method, wire, sequence, arguments = call
                if method.inline:
                    answer = method.run(wire, sequence, arguments)
                else:
                    answer = engine.call(self, call)
            if answer is None:
                return False
            self._transmit(answer)
            if self._unsent is not None:
                return True
        if not self.attended:
            engine.requeue(self)
        return True

    def _refuse(self, refused: RefusedError) -> bytes:
        """Return the answer to what is not a call of anything that there is."""
        self.engine.n_bad_requests.increment()
        self._complain("%s: %s", self.caller, refused)
        return refused.answer

    def _keep_rest(self) -> None:
        """Keep the beginning of a frame, the rest of which has not come yet."""
        self._partial, self._wanted = bytearray(self._data[self._place :]), 4
        self._data, self._place = b"", 0
        self.began = monotonic()
        self.engine.deadlines.expect(self.began + self.engine.request_timeout)
        self._look_at_length()

    def _look_at_length(self) -> None:
        """Find out how long the frame is that has begun to come, when that much of it is there.

        Raises:
            WireError: longer than is allowed.
        """
        partial = self._partial
        if self._wanted == 4 and partial is not None and len(partial) >= 4:
            (length,) = _LENGTH.unpack_from(partial)
            if not 0 < length <= self.engine.max_frame:
                raise WireError(self._say_length(length))
            self._wanted = 4 + length

    def _say_length(self, length: int) -> str:
        if length & 0x80000000:
            length -= 1 << 32
        if length <= 0:
            return f"a frame cannot be {length} bytes long"
        flag = self.engine.max_frame_flag
        return f"a frame of {length} bytes is longer than {flag} {self.engine.max_frame}"

    def _read(self) -> bool:
        """Read what is there; False: nothing is, for now.

        Raises:
            EOFError: and nothing will be.
        """
        partial = self._partial
        missing = 0 if partial is None else self._wanted - len(partial)
        try:
            size = _CHUNK if missing <= _CHUNK else min(missing, _LARGE_CHUNK)
            chunk = self._receive(size, self._flags)
        except _WOULD_BLOCK:
            return False
        if not chunk:
            if self._ended():
                raise ConnectionResetError
            return False
        # Then there was no more, and of what comes now epoll will tell: of its end, it has told.
        self._drained = len(chunk) < size and not self._going and not self.attended
        if partial is None:
            self._data, self._place = chunk, 0
            return True
        partial += chunk
        self._look_at_length()
        if len(partial) >= self._wanted > 4:
            self._data, self._place, self._partial, self.began = bytes(partial), 0, None, 0.0
        return True

    def _nothing_there(self) -> bool:
        """Leave it for now, or for good where the server stops."""
        if self._place == len(self._data):
            self._data, self._place = b"", 0
        if self.engine.draining and self._partial is None:
            self.close()
            return False
        return True

    def _transmit(self, answer: bytes) -> None:
        try:
            sent = self._send(answer, _AT_ONCE) if answer else 0  # to some calls there is none
        except _WOULD_BLOCK:
            sent = 0
        if sent != len(answer):
            self.leave()
            self._unsent = memoryview(answer)[sent:]
            self.began = monotonic()
            self.engine.deadlines.expect(self.began + self.engine.request_timeout)
        if self.engine.idle_timeout:
            self.active = monotonic()

    def _flush(self) -> bool:
        """Send what was not taken before; False: it is not taken now either."""
        unsent = self._unsent
        while unsent:
            try:
                unsent = self._unsent = unsent[self._send(unsent, _AT_ONCE) :]
            except _WOULD_BLOCK:
                return False
        self._unsent, self.began = None, 0.0
        return True

    # -- a client that is alone --------------------------------------------------------------------

    def _attend(self) -> bool:
        """Have this thread wait for this client alone from now on; False: not yet, or never."""
        self._turns += 1
        if self._turns < _FAMILIAR:
            return False
        self._turns = 0
        if self._partial is not None or self.sock.family == socket.AF_UNIX:
            return False  # of a Unix socket `release` would refuse what the client is sending
        self.attended, self._flags, self._drained = True, _WAIT, False
        self.engine.attends(self)
        return True

    def leave(self) -> None:
        """Have the threads that serve all wait for this client again; the claim is held."""
        if self.attended:
            self.attended, self._flags = False, _AT_ONCE
            self.engine.left(self)

    def release(self) -> None:
        """Have the thread that waits for this client alone go on; from any thread.

        What has come is read and answered all the same.
        """
        self._released = True
        with contextlib.suppress(OSError):  # it was closed meanwhile
            self.sock.shutdown(socket.SHUT_RD)

    def _ended(self) -> bool:
        """Whether the client has ended what it sends: there was nothing to be read."""
        if not self._released or self._partial is None:
            return True
        # It was sending a request when it was released. What comes is there to be read yet.
        state = self.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)
        return state[0] != _ESTABLISHED

    # -- the end -----------------------------------------------------------------------------------

    def _end(self, error: Exception) -> None:
        if isinstance(error, WireError | ssl.SSLError):
            self.engine.n_bad_requests.increment()
            self._complain("%s was closed: %s", self.caller, message_of(error))
        self.close()

    def _complain(self, message: str, *arguments: object) -> None:
        """Log one line for each connection, however much is wrong with what comes by it."""
        if not self._complained:
            self._complained = True
            self.engine.logger.warning(message, *arguments)

    def close(self) -> None:
        """Close it; the claim is held, and is never given back."""
        self.leave()
        self.engine.forget(self)
        self._data, self._partial, self._unsent = b"", None, None
        self.sock.close()


def _without_flags(function: Callable[[_Given], _Result]) -> Callable[[_Given, int], _Result]:
    """Return a function of a TLS socket, which takes no flags, as it is called here."""
    return lambda given, _flags: function(given)


class TLSConnection(Connection):
    """A connection that speaks TLS, from its handshake on."""

    __slots__ = ("_shaken",)

    sock: ssl.SSLSocket

    def __init__(self, engine: Engine, sock: ssl.SSLSocket, address: Any) -> None:
        super().__init__(engine, sock, address)
        self._receive = _without_flags(sock.recv)
        self._send = _without_flags(sock.send)
        self._shaken = False
        self._going = True  # what it reads tells nothing of what there is
        self.began = self.active
        engine.deadlines.expect(self.began + engine.request_timeout)

    def _work(self) -> bool:
        if not self._shaken:
            try:
                self.sock.do_handshake()
            except _WOULD_BLOCK:
                return True
            self._shaken, self.began = True, 0.0
        return super()._work()

    def _attend(self) -> bool:
        return False

    def close(self) -> None:
        """Tell the client that it is the end, and close it."""
        if self._shaken:
            with contextlib.suppress(OSError, ValueError):
                self.sock.unwrap()
        super().close()
