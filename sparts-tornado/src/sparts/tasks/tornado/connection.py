"""One HTTP connection, as the server keeps it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tornado.http1connection import HTTP1ServerConnection

if TYPE_CHECKING:
    from sparts.tasks.tornado.streams import Stream

    from tornado.http1connection import HTTP1Connection


class Connection(HTTP1ServerConnection):
    """One client's connection, and what it is doing.

    It waits *fresh* until the headers of its first request have come, and *idle* between two
    requests. Otherwise it is *busy*; while it sends a body, it is *reading* too.
    """

    exchange: HTTP1Connection | None = None
    """Tornado's object for the request that is expected or answered now, once there is one."""
    waits: dict[Connection, None] | None = None
    """Among which connections it waits; None: it is busy."""
    since: float = 0.0
    """Since when it waits or sends a body, by the loop's clock."""
    received: int = 0
    """Bytes of the body that have come."""
    stream: Stream
