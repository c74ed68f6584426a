"""What a connection needs of the engine that serves it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    import logging
    import socket

    from sparts.tasks.thrift.deadlines import Deadlines
    from sparts.tasks.thrift.settings import Settings
    from sparts.thrift.processor import Call


class Parted(NamedTuple):
    """A connection as it goes from one engine to the next, or comes from a listener."""

    sock: socket.socket
    address: Any
    unread: bytes = b""
    """What was read from it, and not answered."""
    known: bool = False
    """Whether an engine has served it."""
    released: bool = False
    """Whether its end for reading was shut, to wake the thread that waited there."""

    def close(self) -> None:
        """Close it: there is no next engine."""
        self.sock.close()


class Serving(Protocol):
    """The engine, as its connections see it."""

    settings: Settings
    logger: logging.Logger
    deadlines: Deadlines
    alone: bool
    draining: bool
    leaving: bool
    last_call: float

    def call(self, connection: Any, call: Call) -> bytes | None:
        """Make a call, and return its answer; None: it comes later."""

    def call_large(self, connection: Any) -> bytes | None:
        """Decode a large request and make its call; None: the answer comes later."""

    def requeue(self, connection: Any) -> None:
        """Have a connection resumed after those that are due before it."""

    def attends(self, connection: Any) -> None:
        """Note that this thread waits in the read of a connection, and not for events."""

    def left(self, connection: Any) -> None:
        """Note that it does not any more."""

    def forget(self, connection: Any) -> None:
        """Take out a connection that is about to be closed or handed on."""

    def part(self, parted: Parted) -> bool:
        """Take a connection for the next instance; False: it is to be closed."""
