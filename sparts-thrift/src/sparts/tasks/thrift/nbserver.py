"""The thrift server for every day: framed, binary or compact, over TCP or a Unix socket."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Any, ClassVar

from sparts.clock import timeout_of
from sparts.counters import CallbackCounter, counter, own
from sparts.errors import OptionError
from sparts.net.accepting import Accepting
from sparts.net.listeners import ConnectionLimit, Listening, refuse_below_one
from sparts.option_types import duration, size
from sparts.options import Option, flag_of, option
from sparts.shown import ours
from sparts.tasks.thrift.engine import Engine
from sparts.tasks.thrift.server import ThriftServerTask
from sparts.tasks.thrift.settings import Settings

if TYPE_CHECKING:
    import argparse
    import socket

    from sparts.vservice import VService

LONGEST_FRAME = 1 << 30
"""The highest ``max_frame``. A request of a browser, read as a frame, begins with a greater length
(``GET`` and so on): what follows it must not be taken for calls."""


class NBServerTask(ConnectionLimit, Listening, ThriftServerTask):
    """Serves thrift: framed, each client in the protocol that it speaks, binary or compact."""

    OPT_PREFIX: ClassVar[str | None] = "thrift"

    FIRST_REQUEST_GRACE: ClassVar[float] = 1.0
    """Seconds that a client which has just connected, or got an answer, has to send its next
    request when the task stops.
    """

    num_threads: Option[int] = option(
        name="threads",
        type=int,
        default=10,
        metavar="N",
        reloadable=False,
        help="calls that run at a time, without those of INLINE handlers and coroutines",
        advanced=True,
    )
    max_frame: Option[int] = option(
        type=size,
        default="16MiB",
        metavar="SIZE",
        reloadable=False,
        help="longest request; a client that sends a longer one is disconnected",
        advanced=True,
    )
    idle_timeout: Option[float] = option(
        type=duration,
        default=0.0,
        metavar="DURATION",
        reloadable=False,
        help="disconnect a client that has sent no request for this long (0: never)",
        advanced=True,
    )
    request_timeout: Option[float] = option(
        type=duration,
        default=60.0,
        metavar="DURATION",
        reloadable=False,
        help="time limit for a request to arrive, and for the client to read its answer; 0: no"
        " limit",
        advanced=True,
    )

    n_accepted: counter = counter(help="Connections.")
    n_bad_requests: counter = counter(help="Requests that were no calls of a method that there is.")
    n_timeouts: counter = counter(help="Connections that were closed because of a timeout.")

    def __init__(self, service: VService) -> None:
        super().__init__(service)
        self._engine: Engine | None = None
        self._hands_on = False
        self._sockets = []

    @CallbackCounter
    def n_connections(self) -> float:
        """Connections just now."""
        return len(self._engine.connections) if self._engine else 0

    @CallbackCounter
    def n_waiting(self) -> float:
        """Calls that wait for one of the threads just now."""
        engine = self._engine
        return len(engine.waiting) + len(engine.waiting_large) if engine else 0

    @property
    def bound_host(self) -> Any:
        """The host that it listens on, the first if there are several."""
        return self.bound_addrs[0][0]

    @property
    def bound_port(self) -> int:
        """The port that it listens on."""
        port: int = self.bound_addrs[0][1]
        return port

    @property
    def server(self) -> Engine | None:
        """What serves; None before the start."""
        return self._engine

    @property
    def socket(self) -> socket.socket | None:
        """The first of the sockets that it listens on, from `initTask` to the stop."""
        return next(iter(self._sockets), None)

    @property
    def all_inline(self) -> bool:
        """Whether no call ever waits for anything."""
        return all(method.inline for method in self.router.methods.values())

    def check_options(self, options: argparse.Namespace) -> None:
        """Refuse to have no thread for calls, or a length that no request can have; see
        `VTask.check_options`.
        """
        super().check_options(options)
        refuse_below_one(self, options, NBServerTask.num_threads, NBServerTask.max_frame)
        longest = NBServerTask.max_frame.read(self, options)
        if longest > LONGEST_FRAME:
            flag = flag_of(type(self), "max-frame")
            raise OptionError(f"{flag} is at most {LONGEST_FRAME}, not {longest}.")

    def initTask(self) -> None:  # noqa: N802
        """Find the handlers, and take the sockets.

        Raises:
            StartError: there is no handler to serve, or more than one without ``MULTIPLEX``.
        """
        super().initTask()
        self.take_sockets()

    def start(self) -> None:
        """Begin to accept connections, and go on with those of the instance before."""
        # So that one can always talk to the clients, and one wait for a client that is alone.
        self.workers: int = 2 + self.num_threads
        self._engine = Engine(self._settings())
        self._engine.listen(self._sockets, self._instance.ours.listeners.take_kept(self.name))
        super().start()
        self.log_started()

    def _settings(self) -> Settings:
        return Settings(
            logger=ours(self).logger,
            accepting=Accepting(self, lambda: int(self.n_connections() or 0)),
            flag=flag_of(type(self)),
            read=self.router.read,
            ssl_context=self.ssl_context,
            inline=self.all_inline,
            threads=self.num_threads,
            max_frame=self.max_frame,
            max_connections=self.max_connections,
            memory=self.memory,
            idle_timeout=self.idle_timeout or 0.0,
            request_timeout=self.request_timeout or inf,
            grace=self.FIRST_REQUEST_GRACE,
            n_accepted=own(self, NBServerTask.n_accepted),
            n_bad_requests=own(self, NBServerTask.n_bad_requests),
            n_refused=own(self, NBServerTask.n_refused),
            n_timeouts=own(self, NBServerTask.n_timeouts),
        )

    def _runloop(self) -> None:
        if self._engine is not None:
            self._engine.run()

    def stop(self) -> None:
        """Accept no more connections, and let the calls finish that have come.

        At a restart, connections go to the next instance as soon as no call of theirs runs.
        """
        super().stop()
        if self._engine is not None:
            self._hands_on = self._instance.health.restarting
            self._engine.drain(self.stop_listening, self._hands_on)

    def join(self) -> None:
        """Wait until the last call has ended and its answer has been taken.

        What has not ended after `seconds_to_stop` is cut off, and logged.
        """
        engine = self._engine
        if engine is not None:
            engine.emptied.wait(timeout_of(self.seconds_to_stop()))
            if self._hands_on and not self._instance.health.restarting:
                engine.drain_after_all(self.stop_listening)  # a stop has come meanwhile
                engine.emptied.wait(timeout_of(self.seconds_to_stop()))
            if cut := engine.finish():
                self.logger.warning("Clients cut off, which took too long: %d", cut)
            super().join()
            engine.close()
            self._instance.ours.listeners.keep(self.name, engine.parted)
        self.close_sockets()
