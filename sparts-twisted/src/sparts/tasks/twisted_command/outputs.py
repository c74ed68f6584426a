"""What becomes of the output of a command: lines, or its last part. See `sparts.tasks.outputs`."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


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
