"""A limit on the memory that the bodies of all clients take together."""

from __future__ import annotations

from math import inf
from time import perf_counter
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

SMALL = 4096
"""Bytes of a body that are not counted: so many every client may have."""


class Sender(Protocol):
    """A connection whose client has sent a body, or a part of it."""

    def sending_since(self) -> float | None:
        """Return since when the body has been coming, by `perf_counter`; None: it is complete."""

    def refuse(self, status: int, text: str) -> None:
        """Answer that the request is refused."""


class Bodies:
    """The bodies of requests that are not answered yet; for the thread of the loop.

    Args:
        limit: how many bytes they may take; 0: no limit.
        refused: called with the number of clients that were refused to make room.
    """

    def __init__(self, limit: int, refused: Callable[[int], object]) -> None:
        self._limit = limit or inf
        self._refused = refused
        self._held: dict[Any, int] = {}
        self.taken: int = 0

    def hold(self, sender: Sender, size: int) -> bool:
        """Note how many bytes of a body have come; False: the client was refused, to make room.

        Who sends most slowly is refused first, until some room is left. So clients that only hold
        memory do not keep out those that use it.
        """
        self.taken += size - self._held.get(sender, 0)
        self._held[sender] = size
        if self.taken > self._limit:
            self._make_room()
        return sender in self._held

    def _make_room(self) -> None:
        now, number = perf_counter(), 0
        rates = {
            sender: size / max(now - since, 1e-6)
            for sender, size in self._held.items()
            if (since := sender.sending_since()) is not None
        }
        for sender in sorted(rates, key=lambda each: rates[each]):
            if self.taken <= self._limit * 15 / 16:
                break
            sender.refuse(503, "The requests of all clients take too much memory.")
            self.release(sender)
            number += 1
        self._refused(number)

    def release(self, sender: Sender) -> None:
        """Note that a request was answered, or that its client has gone."""
        self.taken -= self._held.pop(sender, 0)
