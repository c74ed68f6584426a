"""What all connections of one server share: limits, time limits, the date, the counters."""

from __future__ import annotations

import asyncio
import time
from email.utils import formatdate
from time import perf_counter
from typing import TYPE_CHECKING, Any, NamedTuple

from sparts.net.metering import Requests
from uvicorn.config import Config
from uvicorn.server import ServerState

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Mapping

    from sparts.net.metering import Meter
    from sparts.tasks.asgi.cycle import Cycle
    from sparts.tasks.asgi.logs import AppLogger
    from sparts.vservice import VService


class Limits(NamedTuple):
    """What a client may do; times in seconds (0: no limit), sizes in bytes."""

    max_body: int
    max_memory: int
    max_headers: int
    max_message: int
    idle_timeout: float
    read_timeout: float
    write_timeout: float
    grace: float


class Timed:
    """What `Shared` looks at: a connection that may take too long."""

    __slots__ = ()

    def deadline(self, now: float) -> float | None:
        """Return when the connection has to be closed; None: not for its time."""
        raise NotImplementedError

    def close_late(self) -> bool:
        """Close the connection; return whether the client is to blame."""
        raise NotImplementedError


class Shared:
    """What the connections of one server share; for the thread of its loop.

    Args:
        service: given to the application, in the scope of each request.
        meter: counts and logs the requests.
        logger: gets what the application raises, and what uvicorn logs.
        app: the ASGI application.
        run: runs the application for a request.
        app_state: what its lifespan has kept.
        limits: what clients may do.
        root_path: ASGI's ``root_path``.
        connections: returns the open connections.
        follow: called with the old and the new protocol of a connection that changes it.
    """

    def __init__(
        self,
        *,
        service: VService,
        meter: Meter,
        logger: AppLogger,
        app: Any,
        run: Callable[[Cycle, Any], Coroutine[Any, Any, None]],
        app_state: dict[str, Any],
        limits: Limits,
        root_path: str,
        connections: Callable[[], Iterable[Any]],
        follow: Callable[[Any, Any], None],
    ) -> None:
        self.service: VService = service
        self.meter: Meter = meter
        self.logger: AppLogger = logger
        self.limits: Limits = limits
        self.run: Callable[[Cycle, Any], Coroutine[Any, Any, None]] = run
        self.whole: Any = getattr(app, "whole", None)
        """Called with a scope: returns what answers such a request if all of it has come at once,
        or None. That is called with the scope and the body, waits for nothing, and returns the
        status, the lines of the headers and the body: this takes a third less time than ASGI."""
        self.requests: Requests = Requests(limits.max_memory, logger)
        self.app_state: dict[str, Any] = app_state
        self.follow: Callable[[Any, Any], None] = follow
        self.loop: asyncio.AbstractEventLoop = asyncio.get_running_loop()
        self.state: ServerState = ServerState()
        self.config: Config = Config(
            app,
            http="httptools",
            ws="websockets-sansio",
            ws_max_size=limits.max_message,
            interface="asgi3",
            lifespan="off",
            proxy_headers=False,
            server_header=False,
            access_log=False,
            log_config=None,
            root_path=root_path,
        )
        self.config.load()
        self.ending = False
        self.n_timeouts: int = 0
        self.date_until: float = 0.0
        self._connections = connections
        self._timer: asyncio.TimerHandle | None = None
        times = (limits.idle_timeout, limits.read_timeout, limits.write_timeout)
        self._shortest = min((each for each in times if each), default=0.0)

    def renew_date(self, now: float) -> None:
        """Have responses of the next second say what time it is."""
        date = formatdate(time.time(), usegmt=True).encode()
        self.state.default_headers[:] = [(b"date", date)]
        self.date_until = now + 1.0

    def log(
        self, outcome: int, status: int, scope: Any, seconds: float, fields: Mapping[str, object]
    ) -> None:
        """Write the line of a request in the access log."""
        client = scope.get("client")
        self.meter.log(
            outcome,
            status or "lost",
            scope.get("method", "GET"),
            scope["path"],
            client[0] if client else "",
            seconds,
            fields,
        )

    # -- clients that take too long ----------------------------------------------------------------

    def watch(self) -> None:
        """Look for connections that take too long, from now on until there are none.

        One timer serves all connections. It wakes the loop when the first of them may be late, and
        at least as often as the shortest limit is long.
        """
        if self._timer is None and self._shortest:
            self._timer = self.loop.call_later(self._shortest, self._look)

    def _look(self) -> None:
        self._timer, now = None, perf_counter()
        following: list[float] = []
        for connection in self._connections():
            if not isinstance(connection, Timed):
                continue
            deadline = connection.deadline(now)
            if deadline is None:
                following.append(now + self._shortest)
            elif deadline <= now:
                self.n_timeouts += connection.close_late()
            else:
                following.append(deadline)
        if following:
            wait = min(min(following) - now, self._shortest)
            self._timer = self.loop.call_later(max(wait, 0.01), self._look)

    def close(self) -> None:
        """End the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
