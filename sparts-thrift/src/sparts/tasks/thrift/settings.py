"""What a thrift server's options say, and what it counts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import logging
    import ssl
    from collections.abc import Callable

    from sparts.net.accepting import Accepting
    from sparts.thrift.memory import Memory
    from sparts.thrift.processor import Call


@dataclass(frozen=True)
class Settings:
    """The options and counters of one server task, as its engine and its connections need them."""

    logger: logging.Logger
    accepting: Accepting
    """Accepts a connection, and says when none can be accepted; used with a lock held."""
    flag: str
    """How its options begin, for messages: ``--thrift``."""
    read: Callable[[bytes, int, int], Call]
    """Finds the call that lies in a message: `sparts.thrift.processor.Router.read`."""
    ssl_context: ssl.SSLContext | None
    inline: bool
    """Whether no call ever waits for anything."""
    threads: int
    """How many calls may run at a time."""
    max_frame: int
    max_connections: int
    memory: Memory
    """What is left for the requests of all clients."""
    idle_timeout: float
    """Seconds; 0.0: never."""
    request_timeout: float
    """Seconds; infinite: never."""
    grace: float
    """Seconds that a client has for one more request at the stop, if it was just now active."""
    n_accepted: Any
    n_bad_requests: Any
    n_refused: Any
    n_timeouts: Any
