"""What comes in by a connection: frames, whole or in parts."""

from __future__ import annotations

import socket
import ssl
from struct import Struct
from threading import Lock
from time import monotonic
from typing import TYPE_CHECKING

from sparts.thrift.calls import Caller
from sparts.thrift.memory import Share
from sparts.thrift.wire import WireError

if TYPE_CHECKING:
    from collections.abc import Callable

    from sparts.tasks.thrift.polling import Claim
    from sparts.tasks.thrift.serving import Parted, Serving

LENGTH = Struct(">I")
CHUNK = 1 << 16
"""Bytes that are read at once; more for a frame that is known to be larger."""
LARGE_CHUNK = 1 << 20
AT_ONCE = socket.MSG_DONTWAIT
WOULD_BLOCK = (BlockingIOError, InterruptedError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
_ESTABLISHED = 1  # the state of a TCP connection that neither end has closed (netinet/tcp.h)


class Reader:
    """The receiving half of a connection, for the thread that holds its ``claim``."""

    __slots__ = (
        "_data", "_drained", "_flags", "_frame", "_going", "_partial", "_place", "_receive",
        "_released", "_wanted",
        "active", "attended", "began", "caller", "claim", "engine", "share", "sock",
    )  # fmt: skip

    def __init__(self, engine: Serving, new: Parted) -> None:
        self.engine: Serving = engine
        sock = new.sock
        self.sock: socket.socket = sock
        self.caller: Caller = Caller(new.address)
        self.share: Share = Share(engine.settings.memory)
        """What it holds of the memory for all requests."""
        self.claim: Lock | Claim = Lock()
        self.active: float = monotonic()
        """When it was accepted or something was last answered."""
        self.began: float = 0.0
        """When the request or answer began that has not come or gone wholly; 0.0: none has."""
        self.attended: bool = False
        """Whether a thread waits for this client alone, in the read, and keeps the claim."""
        self._released = new.released
        self._flags = AT_ONCE
        self._receive: Callable[[int, int], bytes] = sock.recv
        self._data = new.unread
        self._place = 0
        self._frame = -1  # where the request began whose call is under way; -1: none is
        self._partial: bytearray | None = None
        self._wanted = 4
        self._drained = False
        self._going = False

    def _keep_rest(self) -> None:
        """Keep the beginning of a frame, the rest of which has not come yet."""
        self._partial, self._wanted = bytearray(self._data[self._place :]), 4
        self._data, self._place = b"", 0
        self.share.hold(len(self._partial))
        self.expect_progress()
        self._look_at_length()

    def expect_progress(self) -> None:
        """Have the connection closed if what has begun now takes too long."""
        self.began = monotonic()
        self.engine.deadlines.expect(self.began + self.engine.settings.request_timeout)

    def _look_at_length(self) -> None:
        """Find out how long the frame is that has begun to come, when that much of it is there.

        Raises:
            WireError: longer than is allowed.
        """
        partial = self._partial
        if self._wanted == 4 and partial is not None and len(partial) >= 4:
            (length,) = LENGTH.unpack_from(partial)
            if not 0 < length <= self.engine.settings.max_frame:
                raise WireError(self._say_length(length))
            self._wanted = 4 + length

    def _say_length(self, length: int) -> str:
        if length & 0x80000000:
            length -= 1 << 32
        if length <= 0:
            return f"a frame cannot be {length} bytes long"
        settings = self.engine.settings
        limit = f"{settings.flag}-max-frame {settings.max_frame}"
        return f"a frame of {length} bytes is longer than {limit}"

    def _read(self) -> bool:
        """Read what is there; False: nothing is, for now.

        Raises:
            EOFError: and nothing will be.
        """
        partial = self._partial
        missing = 0 if partial is None else self._wanted - len(partial)
        try:
            size = CHUNK if missing <= CHUNK else min(missing, LARGE_CHUNK)
            chunk = self._receive(size, self._flags)
        except WOULD_BLOCK:
            return False
        if not chunk:
            if self._ended():
                raise ConnectionResetError
            return False
        # Then there was no more, and epoll will report what comes now: it has reported the end.
        self._drained = len(chunk) < size and not self._going and not self.attended
        if partial is None:
            self._data, self._place = chunk, 0
            if self.share.held:
                self.share.hold(0)
            return True
        self.share.hold(len(partial) + len(chunk))
        partial += chunk
        self._look_at_length()
        if len(partial) >= self._wanted > 4:
            self._data, self._place, self._partial, self.began = bytes(partial), 0, None, 0.0
        return True

    def _ended(self) -> bool:
        """Whether the client has ended what it sends: there was nothing to be read."""
        if not self._released:
            return True
        # Only our end is shut. What comes is there to be read yet.
        state = self.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)
        return state[0] != _ESTABLISHED
