"""What becomes of the output of a process: pieces of text or bytes."""

from __future__ import annotations

import codecs
import contextlib
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
        """Return the bytes that a process must read; `TypeError`: it is neither text nor bytes."""
        raw = data.encode(self.encoding or "utf-8") if isinstance(data, str) else data
        return None if raw is None else memoryview(raw).tobytes()


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
