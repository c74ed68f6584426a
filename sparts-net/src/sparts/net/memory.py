"""A limit on the memory that the requests of all clients of a server take together."""

from __future__ import annotations

from math import inf
from time import monotonic
from typing import Any

SMALL = 4096
"""Bytes of a request that are not counted: so many every client may have."""
FULL = "The requests of all clients take too much memory."
"""Why a request is refused."""


class Requests:
    """The requests that arrive or are not answered, of which the slowest give way to others.

    So clients that only hold memory do not keep out those that use it. For the thread of the loop.

    A sender has two methods: ``sending_for()`` returns for how many seconds the client has been
    sending, or None if it has sent all. ``refuse_for_memory()`` refuses a request that was
    released, as the protocol says it.

    Args:
        limit: how many bytes they may take; 0: no limit.
        logger: warns when requests are refused, at most once a minute.
    """

    def __init__(self, limit: int, logger: Any) -> None:
        self._limit, self._logger, self._warn_from = limit or inf, logger, 0.0
        self._held: dict[Any, int] = {}
        self.taken: int = 0
        self.n_refused: int = 0
        """How many requests were refused to make room."""

    def hold(self, sender: Any, size: int) -> bool:
        """Note how many bytes a request takes now; False: it was refused, to make room.

        Requests that have come wholly are not refused, except the one that is held.
        """
        self.taken += size - self._held.get(sender, 0)
        self._held[sender] = size
        if self.taken > self._limit:
            self._make_room(sender)
        return sender in self._held

    def _make_room(self, newest: Any) -> None:
        rates = {newest: inf}
        for sender, size in self._held.items():
            if (seconds := sender.sending_for()) is not None:
                rates[sender] = size / max(seconds, 1e-6)
        for sender in sorted(rates, key=lambda each: rates[each]):
            if self.taken <= self._limit * 15 / 16:
                break
            self.release(sender)
            self.n_refused += 1
            sender.refuse_for_memory()
        if monotonic() >= self._warn_from:
            self._warn_from = monotonic() + 60.0
            text = "Requests of all clients take more than %d MiB of memory: some are refused"
            self._logger.warning(text, int(self._limit) >> 20)

    def release(self, sender: Any) -> None:
        """Note that a request was answered, or that its client has gone."""
        self.taken -= self._held.pop(sender, 0)
