"""What becomes of the output of a process: lines or pieces, text or bytes, handed on or kept."""

from __future__ import annotations

import codecs
import contextlib
from collections import deque
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable


class TextMode(NamedTuple):
    """Whether the output of a process is text, and how bytes become that."""

    encoding: str | None = "utf-8"
    """None: it is bytes."""
    errors: str = "strict"
    """As of ``bytes.decode``."""

    def check(self) -> None:
        """Raise `LookupError` if there is no such encoding of text, or no such way with errors."""
        codecs.lookup_error(self.errors)
        if self.encoding is not None:
            with contextlib.suppress(UnicodeError):  # it needs more than one byte
                b"x".decode(self.encoding)

    def decode(self, data: bytes) -> Any:
        """Return output as it was asked for: bytes, or text with the newlines of Python."""
        if self.encoding is None:
            return data
        text = data.decode(self.encoding, self.errors)
        return text.replace("\r\n", "\n").replace("\r", "\n")

    def encode(self, data: bytes | str | None) -> bytes | None:
        """Return the bytes that a process must read."""
        return data.encode(self.encoding or "utf-8") if isinstance(data, str) else data


class Sink(Protocol):
    """Takes the output of a process, piece by piece."""

    def feed(self, data: Any) -> None:
        """Take a piece, which is not empty."""

    def end(self) -> None:
        """Take note of the end; called once."""


class Decoded:
    """Makes text of bytes, whole characters at a time, for another sink.

    After bytes that are no text, and are an error, everything is dropped, so that the process can
    write on.

    Args:
        sink: what takes the text.
        text: the encoding, which is not None.
    """

    def __init__(self, sink: Sink, text: TextMode) -> None:
        self._sink = sink
        self._decode = codecs.getincrementaldecoder(str(text.encoding))(text.errors).decode
        self.error: Exception | None = None
        """What was raised, usually a `UnicodeDecodeError`."""

    def feed(self, data: bytes) -> None:
        """See `Sink`."""
        self._feed(data, False)

    def end(self) -> None:
        """See `Sink`."""
        self._feed(b"", True)
        self._sink.end()

    def _feed(self, data: bytes, final: bool) -> None:
        if self.error is not None:
            return
        try:
            text = self._decode(data, final)
        except Exception as error:  # of the encoding, or of a way with errors that is its user's
            self.error = error
            if not isinstance(error, UnicodeDecodeError):
                return
            text = error.object[: error.start].decode(error.encoding, "ignore")
        if text:
            self._sink.feed(text)


class Raw:
    """Gives pieces as they come."""

    def __init__(self, give: Callable[[Any], object]) -> None:
        self._give = give

    def feed(self, data: Any) -> None:
        """See `Sink`."""
        self._give(data)

    def end(self) -> None:
        """See `Sink`."""


class Lines:
    """Gives lines, without their ends; the last one also if it has none.

    Args:
        give: called with each.
        longest: how long a line may be; of a longer one, pieces of that length are given.
        text: whether the output is text, or bytes.
    """

    def __init__(self, give: Callable[[Any], object], longest: int, text: bool) -> None:
        self._give = give
        self._longest = longest
        self._empty: Any = "" if text else b""
        self._newline: Any = "\n" if text else b"\n"
        self._return: Any = "\r" if text else b"\r"
        self._pieces: list[Any] = []
        self._size = 0

    def feed(self, data: Any) -> None:
        """See `Sink`."""
        first, *others = data.split(self._newline)
        self._add(first)
        for other in others:
            self._give(self._take().removesuffix(self._return))
            self._add(other)

    def end(self) -> None:
        """See `Sink`."""
        if self._pieces:
            self._give(self._take())

    def _add(self, data: Any) -> None:
        while self._size + len(data) > self._longest:
            room = self._longest - self._size
            self._pieces.append(data[:room])
            data = data[room:]
            self._give(self._take())
        if data:
            self._pieces.append(data)
            self._size += len(data)

    def _take(self) -> Any:
        line = self._empty.join(self._pieces)
        self._pieces.clear()
        self._size = 0
        return line


class Kept:
    """Keeps the last part of the output.

    Args:
        most: how many bytes or, of text, characters; None: all.
        text: whether the output is text, or bytes.
    """

    def __init__(self, most: int | None = None, text: bool = False) -> None:
        self._most = most
        self._empty: Any = "" if text else b""
        self._pieces: deque[Any] = deque()
        self._size = 0
        self.dropped: int = 0
        """How much was not kept."""

    def feed(self, data: Any) -> None:
        """See `Sink`."""
        self._pieces.append(data)
        self._size += len(data)
        while self._most is not None and self._size > self._most:
            first = self._pieces.popleft()
            over = min(len(first), self._size - self._most)
            if over < len(first):
                self._pieces.appendleft(first[over:])
            self._size -= over
            self.dropped += over

    def end(self) -> None:
        """See `Sink`."""

    def value(self) -> Any:
        """Return what was kept."""
        return self._empty.join(self._pieces)
