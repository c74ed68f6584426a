"""The server task: its options, its routes, and its life."""

from __future__ import annotations

import sys
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, ClassVar

from sparts.builtin.processes import copy_of
from sparts.errors import OptionError, describe, format_thread
from sparts.net.asking import Asking
from sparts.net.hosts import is_loopback
from sparts.options import prefix_of
from sparts.options.binding import env_prefix
from sparts.shown import ours
from sparts.tasks.tornado.console.registry import Announcement, Inherited, folder
from sparts.tasks.tornado.server import GracefulHTTPServer
from sparts.tasks.tornado.status import handlers
from sparts.tasks.tornado.status.arrivals import Arrivals
from sparts.tasks.tornado.status.asking import Asker
from sparts.tasks.tornado.status.base import StatusTask
from sparts.tasks.tornado.status.control import control_routes
from sparts.tasks.tornado.status.feed import Events, Feed
from sparts.tasks.tornado.status.history import History
from sparts.tasks.tornado.status.metrics import ServiceCollector
from sparts.tasks.tornado.status.page import describe_page
from sparts.tasks.tornado.status.recent import RecentLines
from sparts.tasks.tornado.status.watch import Watch

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable


class StatusHTTPTask(StatusTask):
    """Serves the status of the service: probes, metrics, everything as JSON, and a live page.

    It listens on this host alone unless ``--status-host`` says otherwise, and an attribute
    ``DEFAULT_PORT`` of the service does not move it. Endpoints: ``/livez``, ``/readyz``,
    ``/metrics``, ``/status.json``, ``/stacks``, and ``/`` for a person.
    """

    OPT_PREFIX: ClassVar[str | None] = "status"
    _SERVICE_DEFAULTS: ClassVar[bool] = False
    DEFAULT_HOST: ClassVar[str] = "127.0.0.1"
    DEFAULT_PORT: ClassVar[int] = 8081
    MAX_BODY: ClassVar[int] = 1024 * 1024

    def initTask(self) -> None:  # noqa: N802
        """Prepare the routes, and begin to keep log lines.

        OptionError: there are to be controls, but neither a token nor a Unix socket.
        """
        self.check_control()
        self.metrics: ServiceCollector = ServiceCollector(self.service)
        self.history: History = History()
        self.arrivals: Arrivals = Arrivals(self.service)
        self.watch: Watch = Watch()
        self._instance.hooks.register(self.watch)
        self._warned: dict[str, float] = {}
        self._ended = threading.Event()
        self._sampler: threading.Thread | None = None
        self.recent: RecentLines = RecentLines(self.LOG_LINES)
        questions: dict[str, Callable[[], Any]] = {
            "liveness": self._instance.health.liveness,
            "readiness": self._instance.health.readiness,
            "describe": self._instance.stats.describe,
            "stacks": lambda: handlers.format_stacks(self),
            "page": lambda: describe_page(self),
            "metrics": lambda: list(self.metrics.collect()),
        }
        self.asker: Asker = Asker(self._supervisor.logger.name, questions, self.ANSWER_TIMEOUT)
        if (copy := copy_of(self.service)) is not None:
            from sparts.tasks.tornado.status.copies import Copies

            self.copies: Any = Copies(self, copy)
        super().initTask()
        self.recent.install()

    def check(self) -> None:
        """See whether the controls are guarded, if there are to be any."""
        super().check()
        self.check_control()

    def check_control(self) -> None:
        """Raise OptionError if there are to be controls that nothing guards."""
        if self.control and not self.token and not self.address().path:
            variable = env_prefix(type(self.service)) + f"{prefix_of(type(self))}_token".upper()
            raise OptionError(
                f"{self.flag('control')} needs a token ({self.flag('token')}, or better a file "
                f"that {variable}_FILE names) or a Unix socket ({self.flag('sock')})."
            )

    def getApplicationConfig(self) -> list[Any]:  # noqa: N802
        """Return the routes of the endpoints; a subclass may put its own before them."""
        mine = {"task": self}
        return [
            ("/livez", handlers.Probe, {**mine, "question": "liveness"}),
            ("/readyz", handlers.Probe, {**mine, "question": "readiness"}),
            ("/metrics", handlers.Metrics, mine),
            ("/status.json", handlers.StatusJSON, mine),
            ("/stacks", handlers.Stacks, mine),
            ("/task.json", handlers.TaskJSON, mine),
            ("/log.json", handlers.LogJSON, mine),
            ("/peers.json", handlers.Peers, mine),
            ("/events", Events, mine),
            *handlers.page_routes(self),
            *control_routes(self),
            (".*", handlers.NotFound, mine),
        ]

    def start_in_loop(self) -> Any:
        """Begin to accept connections; warn if the token of the controls can be overheard."""
        self.feed: Feed = Feed(self)
        super().start_in_loop()
        self._announce()
        if self._sampler is None:
            name = f"{self._supervisor.logger.name}.sampler"
            sampler = threading.Thread(target=self._sample, name=name, daemon=True)
            sampler.start()
            self._sampler = sampler
        local = all(isinstance(each, str) or is_loopback(each) for each in self.bound_addrs)
        if self.control and not local and self.ssl_context is None:
            self.logger.warning(
                "The token of the controls crosses the network in the clear: give %s and %s.",
                self.flag("tls-cert"),
                self.flag("tls-key"),
            )

    def _announce(self) -> None:
        copy = copy_of(self.service)
        inherited = copy.socket(f"{self.name}.control") if copy else None
        announced: Announcement | Inherited | None = None
        if inherited is not None:
            announced = Inherited(inherited)
        elif copy is None:
            announced = self._announced()
        if announced is None:
            return
        self.announcement = announced
        self._control_server = GracefulHTTPServer(
            self.application,
            task=self,
            loop=self.server.loop,
            max_body_size=sys.maxsize,
            idle_timeout=self.idle_timeout or 0.0,
            read_timeout=self.read_timeout or 0.0,
            max_memory=self.max_memory,
        )
        self._control_server.add_sockets([announced.socket])

    def _announced(self) -> Announcement | None:
        """Announce the service; None: it is not to be, or cannot."""
        if not self.announce:
            return None
        if (where := folder()) is None:
            self.logger.info(
                "The service is not announced to `sparts ps`: give it a folder by "
                "SPARTS_RUNTIME_DIR, or leave this out by %s.",
                self.flag("announce").replace("--", "--no-"),
            )
            return None
        urls = [_url_of(each, self.ssl_context is not None) for each in self.bound_addrs]
        service = ours(self.service)
        told = {
            "name": service.name,
            "url": next((url for url in urls if url), ""),
            "version": service.VERSION,
            "started": service.start_time,
        }
        try:
            return Announcement(where, told)
        except OSError as error:
            self.logger.info("The service is not announced to `sparts ps`: %s", describe(error))
            return None

    def open_for_copies(self) -> dict[str, socket.socket]:
        """Announce the service; called in the parent of copies, which serve the control socket."""
        self.announcement = self._announced()
        return {"control": self.announcement.socket} if self.announcement else {}

    def close_for_copies(self) -> None:
        """Undo it."""
        if self.announcement is not None:
            self.announcement.close()

    def _sample(self) -> None:
        """Keep a sample of all numbers, and have the checks asked; in a thread of its own."""
        asking = Asking()
        while True:
            try:
                self.arrivals.note()
                self.history.add(time.time(), self.figures())
                if self._instance.health.checks():
                    with suppress(TimeoutError):  # one that hangs does not hold up the samples
                        asking.ask("checks", self._instance.health.check_results)
            except Exception as error:  # of a counter or a hook
                self.logger.warning("The numbers could not be kept: %s", describe(error))
            if self._ended.wait(self.SAMPLE):
                return

    async def stop_in_loop(self) -> None:
        """End the streams of open pages, and let all other requests finish."""
        self.feed.close()
        if self.copies is not None:
            self.copies.close_feeds()
        self._ended.set()
        if self.announcement is not None:
            self._control_server.stop()
            self.announcement.close()
            await self._control_server.end([], 0.0, min(1.0, self.seconds_to_stop()))
        await super().stop_in_loop()

    def join(self) -> None:
        """Wait for the end of the server and of what it asks."""
        super().join()
        self._ended.set()
        self.watch.open_all()
        self._instance.hooks.unregister(self.watch)
        if self.announcement is not None:  # the loop has crashed, if it is there still
            self.announcement.close()
        seconds = min(self.HANGING, self.seconds_to_stop())
        hanging = self.asker.close(seconds)
        if self._sampler is not None:
            self._sampler.join(seconds if not hanging else 0.0)
        if hanging:
            self.logger.warning("Not waited for: what was asked for %s", ", ".join(hanging))
        self.recent.remove()

    def _format_stacks(self) -> str:
        """Return where the threads are that ask the service."""
        return super()._format_stacks() + "".join(map(format_thread, self.asker.threads()))


def _url_of(address: Any, tls: bool) -> str:
    """Return the URL of what a socket is bound to; ``""`` for a Unix socket."""
    if isinstance(address, str):
        return ""
    host, port = address[:2]
    host = {"0.0.0.0": "localhost", "::": "localhost"}.get(host, host)  # noqa: S104 - compared
    shown = f"[{host}]" if ":" in host else host
    return f"{'https' if tls else 'http'}://{shown}:{port}/"
