"""Spreads connections evenly: a copy that has more than the others lets them accept first.

All copies wait for the same listening sockets, and the kernel wakes all of them. Without more, the
quickest takes most connections. So each copy tells the parent how many it has, and the parent tells
all. A copy that is ahead pauses for some milliseconds. If the connection waits still after some
pauses, it takes it: no copy that is busy or hangs can hold up a client.
"""

from __future__ import annotations

from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Any

from sparts.inbox import await_ready

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from sparts.protocols import Task

PAUSES = (0.001, 0.003, 0.012, 0.03, 0.06)
"""Seconds that a copy which is ahead leaves a connection to the others, one pause after another."""
FEWER_AFTER = 0.1
"""Seconds after which a copy tells that it has fewer connections. More it tells at once."""


class Share:
    """What one server task of a copy does to have its share of the connections.

    Args:
        connections: returns how many are open.
        tell: sends a number to the parent; None: the task takes no part. False: it was not sent.
        later: calls a function after some seconds, in another thread.
    """

    def __init__(
        self,
        connections: Callable[[], int],
        tell: Callable[[int | None], bool],
        later: Callable[[float, Callable[[Any], object]], None],
    ) -> None:
        self.others: dict[str, int] = {}
        """How many the other copies have, by process; replaced by another thread."""
        self._connections, self._tell, self._later = connections, tell, later
        self._told: int | None = None
        self._tells_later = self._left = False
        self._pauses: dict[int, tuple[int, float]] = {}
        """By descriptor: how often one connection was left to others, and until when."""
        self._passed: dict[str, int] = {}  # the numbers of those who did not take what was theirs
        self._note(connections())

    def _note(self, mine: int) -> None:
        """Tell what has changed by more than a little: more at once, fewer some time later."""
        told = -2 if self._told is None else self._told
        if mine > told + 1 + told // 8:
            if self._tell(mine):
                self._told = mine
        elif mine < told - 1 - told // 8 and not self._tells_later:
            self._tells_later = True
            self._later(FEWER_AFTER, self._tell_fewer)

    def _tell_fewer(self, _: object) -> None:
        self._tells_later = False
        if not self._left and self._tell(mine := self._connections()):
            self._told = mine

    def _ahead(self, mine: int) -> bool:
        others = self.others
        if self._passed:
            self._passed = {p: n for p, n in self._passed.items() if others.get(p) == n}
        least = min((n for each, n in others.items() if each not in self._passed), default=mine)
        return mine > least + 2 + least // 4

    def pause(self, listener: socket.socket) -> float:
        """Return for how many seconds to leave the next connection to others; 0: take it."""
        mine = self._connections()
        self._note(mine)
        key, now = listener.fileno(), monotonic()
        if self._ahead(mine) and await_ready([listener.fileno()], 0.0):
            pauses, until = self._pauses.get(key, (0, now))
            if now < until:  # called for another connection
                return until - now
            if pauses < len(PAUSES):
                self._pauses[key] = pauses + 1, now + PAUSES[pauses]
                return PAUSES[pauses]
            self._passed = self.others  # nobody came: do not wait for them until that changes
        self._pauses.pop(key, None)
        return 0.0

    def recount(self) -> bool:
        """Note that a connection has ended; return whether a pause need not go on."""
        mine = self._connections()
        self._note(mine)
        return bool(self._pauses) and not self._ahead(mine)

    def leave(self) -> None:
        """Take part no more."""
        self._pauses.clear()
        self._left = True
        self._tell(None)


def share_of(copy: Any, task: Task, connections: Callable[[], int]) -> Share:
    """Return what gives a server task its share of the connections.

    Args:
        copy: this process as one of several copies of the service.
        task: the task.
        connections: returns how many connections are open.
    """
    share = Share(connections, partial(copy.tell_connections, task.name), copy.in_service)
    copy.take_part(task.name, share)
    return share
