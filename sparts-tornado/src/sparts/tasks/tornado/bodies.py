"""A limit on the memory that the bodies of all clients take together."""

from __future__ import annotations

from math import inf
from time import monotonic
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from sparts.tasks.tornado.streams import Stream

SMALL = 4096
"""Bytes of a body that are not counted: so many every client may have."""


class Refusable(Protocol):
    """A request whose body has not come wholly, or that is not answered yet."""

    def refuse(self, status: str, text: str) -> None:
        """Answer that the request is refused, and close its connection."""


class Bodies:
    """The bodies that the server keeps for handlers; for the thread of the loop.

    Args:
        limit: how many bytes they may take; 0: no limit.
        task: the server task, whose logger warns.
    """

    def __init__(self, limit: float, task: Any) -> None:
        self._limit, self._task = limit or inf, task
        self._held: dict[Stream, tuple[int, Refusable]] = {}
        self._warn_from = 0.0
        self.taken: int = 0
        self.n_refused: int = 0
        """How many requests were refused to make room."""

    def hold(self, stream: Stream, request: Refusable, now: float) -> bool:
        """Note how much of a body has come; False: its request was refused, to make room.

        Who sends most slowly is refused first, until some room is left. So clients that only hold
        memory do not keep out those that use it.

        Args:
            stream: the connection.
            request: what the body belongs to.
            now: the time of the loop.
        """
        self.release(stream)
        self._held[stream] = (stream.received, request)
        self.taken += stream.received
        if self.taken > self._limit:
            self._make_room(now)
        return stream in self._held

    def _make_room(self, now: float) -> None:
        sending = [stream for stream in self._held if stream.unread]
        sending.sort(key=lambda stream: stream.received / max(now - stream.since, 1e-6))
        for stream in sending:
            if self.taken <= self._limit * 15 / 16:
                break
            _, request = self._held[stream]
            self.release(stream)
            self.n_refused += 1
            request.refuse("503 Service Unavailable", "All requests take too much memory.")
        if sending and monotonic() >= self._warn_from:
            self._warn_from = monotonic() + 60.0
            text = "Bodies of all clients take more than %d MiB of memory: some are refused"
            self._task.logger.warning(text, int(self._limit) >> 20)

    def release(self, stream: Stream) -> None:
        """Note that a request was answered, or that its client has gone."""
        if stream in self._held:
            self.taken -= self._held.pop(stream)[0]
