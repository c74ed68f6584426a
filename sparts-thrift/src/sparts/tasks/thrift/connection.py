"""One connection of a client: frames come in, are answered one after the other, and go out.

What comes in next is read when what came before has been answered and the answer has been taken.
So each client has one call under way at a time, however many it has sent, its answers come in
order, and one that does not read is not read from.

Mostly it is the epoll of all that reports when to go on. Of a client that is the only one, a thread
of its own waits in the read, from where it is woken sooner: the connection is *attended*.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
from math import inf
from time import monotonic
from typing import TYPE_CHECKING

from sparts.errors import message_of
from sparts.tasks.thrift.polling import GOING, IN, OUT
from sparts.tasks.thrift.reading import AT_ONCE, LENGTH, WOULD_BLOCK, Reader
from sparts.tasks.thrift.serving import Parted
from sparts.thrift.calls import current
from sparts.thrift.memory import NoRoomError
from sparts.thrift.processor import RefusedError
from sparts.thrift.wire import WireError

if TYPE_CHECKING:
    from collections.abc import Callable

    from _typeshed import ReadableBuffer
    from sparts.tasks.thrift.serving import Serving
    from sparts.thrift.processor import Call

_TURN = 64
"""Frames that are answered before the others have their turn."""
_LARGE = 1 << 16
"""Bytes of a frame from which on another thread serves the others while it is decoded."""
_WAIT = socket.MsgFlag(0)
_FAMILIAR = 16
"""Turns that a client has had before a thread is given to it alone."""


class Connection(Reader):
    """A connection, worked on by one thread at a time: the one that holds its ``claim``.

    A thread that comes while another works on it leaves a note (``again``) and goes.
    """

    __slots__ = ("_complained", "_send", "_turns", "_unsent", "again")

    def __init__(self, engine: Serving, new: Parted) -> None:
        super().__init__(engine, new)
        self.again: bool = False
        self._turns = 0
        self._send: Callable[[ReadableBuffer, int], int] = self.sock.send
        self._unsent: memoryview | None = None
        self._complained = False

    # -- whose turn it is --------------------------------------------------------------------------

    def resume(self, events: int) -> None:
        """Go on: something may be there to be read, or there is room to write."""
        self.again = True
        if events & GOING:
            self._going = True
        if self.claim.acquire(False):
            self.advance()

    @property
    def wanted(self) -> int:
        """What it waits for when nobody works on it."""
        return IN if self._unsent is None else OUT

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
            except (OSError, WireError, NoRoomError) as error:
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
        """Do the same in a thread that must not make calls."""
        if self._place == len(self._data):
            self._data, self._place = b"", 0
        self.share.hold(min(self.share.held, len(self._data)))
        try:
            self._transmit(answer)
        except OSError as error:
            self._end(error)
            return
        if self.engine.leaving and self._unsent is None:
            self.depart()
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
        read, longest = engine.settings.read, engine.settings.max_frame
        end = length = 0
        answer: bytes | None
        self._drained = False
        for _ in range(_TURN):
            if engine.leaving:
                self.depart()
                return False
            while True:
                data, place = self._data, self._place
                start = place + 4
                if start <= len(data):
                    length = LENGTH.unpack_from(data, place)[0]
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
            self._frame, self._place = place, end
            try:
                if length >= _LARGE:
                    answer = engine.call_large(self)
                else:
                    method, wire, sequence, arguments, _ = call = read(data, start, end)
                    if method.inline:
                        answer = method.run(wire, sequence, arguments)
                    else:
                        answer = engine.call(self, call)
            except RefusedError as refused:
                answer = self.refuse(refused)
            if answer is None:
                return False
            self._transmit(answer)
            if self._unsent is not None:
                return True
        if not self.attended:
            engine.requeue(self)
        return True

    def hold_for(self, call: Call) -> None:
        """Hold memory for the call of a coroutine, of which any number may run.

        Raises:
            RefusedError: there is not so much left.
        """
        method, wire, sequence, _, cost = call
        try:
            self.share.hold(self.share.held + cost)
        except NoRoomError as error:
            raise RefusedError(message_of(error), method.refused(wire, sequence)) from None

    def wait_for_room(self) -> None:
        """Keep the call that was just read as bytes, which mostly take less memory.

        Raises:
            NoRoomError: there is no memory left even for these.
        """
        self.share.hold(len(self._data))
        self._place = self._frame

    def call_again(self) -> Call | bytes:
        """Read the call that was not made yet and, unless it is a coroutine's, make it.

        Returns:
            its answer, or the call of a coroutine; the claim is held.
        """
        current.set(self.caller)
        data, start = self._data, self._frame + 4
        self._place = end = start + LENGTH.unpack_from(data, self._frame)[0]
        try:
            call = self.engine.settings.read(data, start, end)
        except RefusedError as refused:
            return self.refuse(refused)
        return call if call[0].asynchronous else call[0].run(*call[1:4])

    def refuse(self, refused: RefusedError) -> bytes:
        """Return the answer to what is not a call of anything that there is."""
        self.engine.settings.n_bad_requests.increment()
        self._complain("%s: %s", self.caller, refused)
        return refused.answer

    def _nothing_there(self) -> bool:
        """Leave it for now, or for good where the server stops."""
        if self._place == len(self._data):
            self._data, self._place = b"", 0
            if self.share.held and self._partial is None:
                self.share.hold(0)
        engine = self.engine
        if engine.leaving:
            self.depart()
            return False
        if engine.draining and self._partial is None:
            # Who was just now active may have begun to send: to close now would reset that.
            began = engine.last_call - engine.settings.grace
            if not began - engine.settings.grace <= self.active <= began:
                self.close()
                return False
            engine.deadlines.expect(engine.last_call)
        return True

    def _transmit(self, answer: bytes) -> None:
        # Before it is sent: a client that sees the answer may look at both.
        self._frame = -1
        self.active: float = monotonic()
        try:
            sent = self._send(answer, AT_ONCE) if answer else 0  # to some calls there is none
        except WOULD_BLOCK:
            sent = 0
        if sent != len(answer):
            self.leave()
            self._unsent = memoryview(answer)[sent:]
            self.expect_progress()

    def _flush(self) -> bool:
        """Send what was not taken before; False: it is not taken now either."""
        unsent = self._unsent
        while unsent:
            try:
                unsent = self._unsent = unsent[self._send(unsent, AT_ONCE) :]
            except WOULD_BLOCK:
                return False
        self._unsent = None
        self.began: float = 0.0
        return True

    # -- a client that is alone --------------------------------------------------------------------

    def _attend(self) -> bool:
        """Have this thread wait for this client alone from now on; False: not yet, or never."""
        self._turns += 1
        if self._turns < _FAMILIAR:
            return False
        self._turns = 0
        if self._partial is not None or self._released or self.sock.family == socket.AF_UNIX:
            return False  # of a Unix socket `release` would refuse what the client is sending
        self.attended: bool = True
        self._flags = _WAIT
        self._drained = False
        self.engine.attends(self)
        return True

    def leave(self) -> None:
        """Have the threads that serve all wait for this client again; the claim is held."""
        if self.attended:
            self.attended, self._flags = False, AT_ONCE
            self.engine.left(self)

    def release(self) -> None:
        """Have the thread that waits for this client alone go on; from any thread.

        What has come is read and answered all the same.
        """
        self._released = True
        with contextlib.suppress(OSError):  # it was closed meanwhile
            self.sock.shutdown(socket.SHUT_RD)

    # -- time --------------------------------------------------------------------------------------

    def due(self) -> float:
        """Return when it is to be closed (of `time.monotonic`), as things are now."""
        settings = self.engine.settings
        if self.began:
            return self.began + settings.request_timeout
        idle = self.active + settings.idle_timeout if settings.idle_timeout else inf
        return min(idle, self.engine.last_call)

    def time_out(self) -> None:
        """Close it, since it is due; the claim is held."""
        settings = self.engine.settings
        if self.began:
            settings.n_timeouts.increment()
            self.engine.logger.warning(
                "%s was closed: a request or its answer was under way for longer than %g s",
                self.caller,
                settings.request_timeout,
            )
        elif not self.engine.draining:
            settings.n_timeouts.increment()
        self.close()

    # -- the end -----------------------------------------------------------------------------------

    @property
    def busy(self) -> bool:
        """Whether a request or its answer is under way."""
        called = self._frame >= 0
        return called or self._partial is not None or self._unsent is not None

    def depart(self) -> None:
        """Hand it to the next instance, or close it if there is none; the claim is kept."""
        self.leave()
        unread = self._data[self._place :] + bytes(self._partial or b"")
        parted = Parted(self.sock, self.caller.address, unread, True, self._released)
        if self._unsent is not None or not self.engine.part(parted):
            self.close()
            return
        self.engine.forget(self)
        self.share.hold(0)

    def _end(self, error: Exception) -> None:
        if isinstance(error, WireError | ssl.SSLError | NoRoomError):
            if not isinstance(error, NoRoomError):
                self.engine.settings.n_bad_requests.increment()
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
        self.share.hold(0)
        self.sock.close()
