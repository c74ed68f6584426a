"""The messages of a request: cut from what comes in, decompressed, and kept until they are read."""

from __future__ import annotations

from collections import deque
from time import perf_counter
from typing import Any

from sparts.net.metering import FULL, SMALL
from sparts.tasks.grpc.wire import PREFIX, too_long, unpacked

import grpc


class Incoming:
    """The messages of one request.

    Args:
        limit: bytes that one may have.
        encoding: how they are compressed, if they are.
    """

    __slots__ = ("_encoding", "_limit", "_part", "held", "messages")

    def __init__(self, limit: int, encoding: bytes) -> None:
        self._limit, self._encoding = limit, encoding
        self._part = bytearray()
        self.messages: deque[bytes] = deque()
        """Those that are whole, and not read."""
        self.held: int = 0
        """How many bytes there are in all."""

    @property
    def partial(self) -> bool:
        """Whether a message has begun that is not whole."""
        return bool(self._part)

    def add(self, data: bytes) -> None:
        """Take what has come.

        Raises:
            MessageError: a message is too long, or cannot be decompressed.
        """
        part = self._part
        if not part and len(data) >= PREFIX:  # most often it is one whole message
            length = int.from_bytes(data[1:PREFIX])
            if len(data) == PREFIX + length and length <= self._limit:
                self._complete(data[0], data[PREFIX:])
                return
        part += data
        self.held += len(data)
        while len(part) >= PREFIX:
            length = int.from_bytes(part[1:PREFIX])
            if length > self._limit:
                raise too_long(length, self._limit)
            if len(part) < PREFIX + length:
                break
            compressed, message = part[0], bytes(part[PREFIX : PREFIX + length])
            del part[: PREFIX + length]
            self.held -= PREFIX + length
            self._complete(compressed, message)

    def _complete(self, compressed: int, message: bytes) -> None:
        message = unpacked(compressed, message, self._encoding, self._limit)
        self.held += len(message)
        self.messages.append(message)

    def take(self) -> bytes:
        """Return the next message; there is one."""
        message = self.messages.popleft()
        self.held -= len(message)
        return message

    def clear(self) -> None:
        """Forget all."""
        self._part.clear()
        self.messages.clear()
        self.held = 0


class Accounted:
    """The part of a call that counts its messages; see `sparts.net.metering`."""

    __slots__ = ("_served",)

    incoming: Incoming
    began: float
    server: Any
    expire: Any
    _served: int
    _ended: bool

    def _hold(self) -> None:
        """Note how many bytes are not read, or were read by a handler that has no others."""
        size = self.incoming.held + self._served
        if size > SMALL:
            self.server.requests.hold(self, size)
        elif self.server.requests.taken:
            self.server.requests.release(self)

    def keep(self, size: int) -> None:
        """Count what a handler keeps of messages that it has read, until the call ends."""
        self._served += size
        self._hold()

    def sending_for(self) -> float | None:
        """Return for how many seconds the client has been sending; None: it has sent all."""
        return None if self._ended else perf_counter() - self.began

    def refuse_for_memory(self) -> None:
        """End the call, since there is no memory for its messages."""
        self.expire(grpc.StatusCode.RESOURCE_EXHAUSTED, FULL)
