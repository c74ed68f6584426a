"""The connections of a `ThriftClient`, shared by threads."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

from sparts.thrift.client.endpoint import closed_error

if TYPE_CHECKING:
    from collections.abc import Callable

    from sparts.thrift.client.connections import Connection
    from sparts.thrift.client.endpoint import Deadline


class Pool:
    """Lends each connection to one call at a time. Safe for threads; a forked child starts empty.

    Args:
        connect: makes a connection, within a deadline.
        size: how many there may be at once.
    """

    def __init__(self, connect: Callable[[Deadline], Connection], size: int) -> None:
        self._connect = connect
        self._size = size
        self.closed: threading.Event = threading.Event()
        """Set when the pool is closed."""
        self._begin()

    def _begin(self) -> None:
        self._process = os.getpid()
        self._changed = threading.Condition()
        self._idle: list[Connection] = []
        self._used: set[Connection] = set()
        self._connecting = 0

    def take(self, deadline: Deadline) -> Connection:
        """Return a connection that nobody else uses, a new one if none is idle and usable.

        Raises:
            TTransportException: none comes free in time, none can be made, or the pool is closed.
        """
        if self._process != os.getpid():
            for connection in self._idle:
                connection.close()  # the parent's goes on: it has a descriptor of its own
            self._begin()
        stale: list[Connection] = []
        try:
            with self._changed:
                found = self._wait(deadline, stale)
                if found is not None:
                    return found
        finally:
            for connection in stale:
                connection.close()
        try:
            made = self._connect(deadline)
        except BaseException:
            with self._changed:
                self._connecting -= 1
                self._changed.notify()
            raise
        with self._changed:
            self._connecting -= 1
            if not self.closed.is_set():
                self._used.add(made)
                return made
        made.close()
        raise closed_error()

    def take_idle(self) -> Connection | None:
        """Return a connection that nobody uses; None: `take` has to wait, or to connect."""
        while self._idle and self._process == os.getpid() and not self.closed.is_set():
            with self._changed:
                if not self._idle:
                    return None
                connection = self._idle.pop()
                if connection.idle():
                    self._used.add(connection)
                    return connection
            connection.close()
        return None

    def _wait(self, deadline: Deadline, stale: list[Connection]) -> Connection | None:
        """Return an idle connection, or None when a new one may be made."""
        while not self.closed.is_set():
            while self._idle:
                connection = self._idle.pop()
                if connection.idle():
                    self._used.add(connection)
                    return connection
                stale.append(connection)
            if len(self._used) + self._connecting < self._size:
                self._connecting += 1
                return None
            if not self._changed.wait(deadline.left()):
                raise deadline.error()
        raise closed_error()

    def give_back(self, connection: Connection, usable: bool) -> None:
        """Take a connection back, and keep it for others if it is usable."""
        with self._changed:
            self._used.discard(connection)
            keep = usable and not self.closed.is_set()
            if keep:
                self._idle.append(connection)
            self._changed.notify()
        if not keep:
            connection.close()

    def close(self) -> None:
        """Close what is idle, and end the calls that others make."""
        with self._changed:
            self.closed.set()
            idle, self._idle = self._idle, []
            for connection in self._used:
                connection.interrupt()
            self._changed.notify_all()
        for connection in idle:
            connection.close()
