"""Spreads connections evenly: a copy that has more than the others lets them accept first.

All copies wait for the same listening sockets, and the kernel wakes all of them. Without more, the
quickest takes most connections. So each writes down how many it has, in memory that they share; a
number is written by its owner alone. A copy that is ahead pauses for some milliseconds. If the
connection waits still after some pauses, it takes it: no copy that is busy or hangs can hold up a
client.
"""

from __future__ import annotations

import mmap
import os
import select
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

PLACES = 512
"""How many copies can live at once, those included that are being replaced."""
PAUSES = (0.001, 0.003, 0.012, 0.03)
"""Seconds that a copy which is ahead leaves a connection to the others, one pause after another."""
_ABSENT = -1


class Table:
    """The numbers of connections: a row for each server task, a column for each copy that lives.

    Args:
        descriptor: of the memory; None makes it.
        rows: how many server tasks there are.
    """

    def __init__(self, rows: int, descriptor: int | None = None) -> None:
        size = (rows * PLACES + 1) * 4
        if descriptor is None:
            descriptor = os.memfd_create("sparts copies", os.MFD_CLOEXEC)
            os.ftruncate(descriptor, size)
        self.descriptor = descriptor
        self._rows = rows
        self._memory = mmap.mmap(descriptor, size)
        self.numbers: memoryview[int] = memoryview(self._memory).cast("i")

    def clear(self, place: int) -> None:
        """Note that nobody is at a place; called by the parent."""
        for row in range(self._rows):
            self.numbers[row * PLACES + place] = _ABSENT
        self.numbers[-1] = max(self.numbers[-1], place + 1)  # how many places have been used

    def share(self, row: int, place: int, connections: Callable[[], int]) -> Share:
        """Return what a server task of the copy at a place does to have its share."""
        return Share(self.numbers, row * PLACES, place, connections)


class Share:
    """What one server task of a copy does to have its share of the connections.

    Args:
        numbers: the table.
        first: where the numbers of this task begin.
        place: where this copy's is among them.
        connections: returns how many connections are open.
    """

    def __init__(
        self, numbers: memoryview, first: int, place: int, connections: Callable[[], int]
    ) -> None:
        self._numbers, self._first, self._place = numbers, first, place
        self._connections = connections
        self._pauses: dict[int, int] = {}  # by descriptor: how often one connection was left
        self._passed: dict[int, int] = {}  # the numbers of those who did not take what was theirs
        self.note()

    def note(self) -> int:
        """Write down how many connections are open, and return it."""
        number = self._numbers[self._first + self._place] = self._connections()
        return number

    def _others(self) -> dict[int, int]:
        row = self._numbers[self._first : self._first + self._numbers[-1]].tolist()
        found = enumerate(row)
        return {place: n for place, n in found if n != _ABSENT and place != self._place}

    def _ahead(self, mine: int) -> bool:
        others = self._others()
        if self._passed:
            self._passed = {p: n for p, n in self._passed.items() if others.get(p) == n}
        counts = (number for place, number in others.items() if place not in self._passed)
        least = min(counts, default=mine)
        return mine > least + 2 + least // 4

    def pause(self, listener: socket.socket) -> float:
        """Return for how many seconds to leave the next connection to others; 0: take it."""
        mine = self.note()
        pauses = self._pauses.pop(listener.fileno(), 0)
        if self._ahead(mine) and _waits_in(listener):
            if pauses < len(PAUSES):
                self._pauses[listener.fileno()] = pauses + 1
                return PAUSES[pauses]
            self._passed = self._others()  # nobody came: do not wait for them until that changes
        return 0.0

    def recount(self) -> bool:
        """Note that a connection has ended; return whether a pause need not go on."""
        mine = self.note()
        return bool(self._pauses) and not self._ahead(mine)

    def leave(self) -> None:
        """Take part no more."""
        self._pauses.clear()
        self._connections = lambda: _ABSENT
        self.note()


def _waits_in(listener: socket.socket) -> bool:
    """Return whether a connection waits in a listening socket."""
    poll = select.poll()
    poll.register(listener, select.POLLIN)
    return bool(poll.poll(0))
