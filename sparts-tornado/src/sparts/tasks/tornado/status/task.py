"""The server task: its options, its routes, and its life."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from sparts.asking import Asking
from sparts.errors import OptionError, describe
from sparts.logs import RecentLines
from sparts.net.metering import access_level_name
from sparts.options import option
from sparts.options.binding import env_prefix
from sparts.stacks import format_thread
from sparts.tasks.tornado.access import allowed_host_option, is_loopback
from sparts.tasks.tornado.console.registry import Announcement, folder
from sparts.tasks.tornado.http import TornadoHTTPTask
from sparts.tasks.tornado.server import GracefulHTTPServer
from sparts.tasks.tornado.status import handlers
from sparts.tasks.tornado.status.acting import with_dependants
from sparts.tasks.tornado.status.arrivals import Arrivals
from sparts.tasks.tornado.status.asking import Asker
from sparts.tasks.tornado.status.control import control_routes
from sparts.tasks.tornado.status.feed import Events, Feed
from sparts.tasks.tornado.status.history import EVERY, History
from sparts.tasks.tornado.status.metrics import ServiceCollector
from sparts.tasks.tornado.status.page import describe_page, read_figures
from sparts.tasks.tornado.status.watch import Watch

if TYPE_CHECKING:
    from collections.abc import Callable


def url_list(text: str) -> list[str]:
    """URLs with commas between them."""
    urls = [each.strip() for each in text.split(",") if each.strip()]
    for url in urls:
        if not url.startswith(("http://", "https://")):
            raise ValueError(f"{url!r} is no http:// or https:// URL")
    return urls


class StatusHTTPTask(TornadoHTTPTask):
    """Serves the status of the service: probes, metrics, everything as JSON, and a live page.

    It listens on this host alone unless ``--status-host`` says otherwise, and an attribute
    ``DEFAULT_PORT`` of the service does not move it. Endpoints: ``/livez``, ``/readyz``,
    ``/metrics``, ``/status.json``, ``/stacks``, and ``/`` for a person.
    """

    OPT_PREFIX = "status"
    SERVICE_DEFAULTS = False
    DEFAULT_HOST = "127.0.0.1"
    DEFAULT_PORT = 8081
    MAX_BODY = 1024 * 1024

    ANSWER_TIMEOUT: ClassVar[float] = 5.0
    """Seconds after which what the service has not told is given up: then the answer is 503."""
    HANGING: ClassVar[float] = 1.0
    """Seconds that a stop waits for what the service has not told yet."""
    SAMPLE: ClassVar[float] = EVERY
    """Seconds between two samples for the plots of the last hour."""
    LOG_LINES: ClassVar[int] = 500
    """How many of the last log lines are kept for the page."""
    TICK: ClassVar[float] = 1.0
    """Seconds between two updates of the page, while somebody looks at it."""

    control = option(
        action="store_true",
        default=False,
        help="let the page change options, run tasks, restart and shut down the service; needs a "
        "token or a Unix socket",
        reloadable=False,
    )
    token = option(
        type=str,
        metavar="TOKEN",
        help="what a client must present to use the controls",
        secret=True,
    )
    access_log = option(
        type=access_level_name,
        default="OFF",  # a probe that says 503 is no error of the server
        metavar="LEVEL",
        help="which requests to log: INFO all, WARNING those of status 400 or more, ERROR those of "
        "500 or more, OFF none",
        advanced=True,
    )
    allowed_host = allowed_host_option()
    peers = option(
        type=url_list,
        metavar="URL,...",
        help="the status pages of further instances, which this page shows together",
        advanced=True,
    )
    announce = option(
        type=bool,
        default=True,
        help="announce the service to `sparts ps` and the other commands on this machine",
        reloadable=False,
        advanced=True,
    )

    asker: Asker
    """Asks the service in threads, from `initTask` on."""
    feed: Feed
    """Keeps the pages that are open up to date, from the start on."""
    metrics: ServiceCollector
    """Reads the counters for Prometheus, from `initTask` on."""
    recent: RecentLines
    """The last log lines, from `initTask` on."""
    watch: Watch
    """Remembers what happened to the other tasks, from `initTask` on."""
    history: History
    """The last hour of every number, from `initTask` on."""
    arrivals: Arrivals
    """How many items have come to the queues, from `initTask` on."""
    announcement: Announcement | None = None
    """Where `sparts ps` finds the service, while it accepts connections."""

    def initTask(self) -> None:  # noqa: N802
        """Prepare the routes, and begin to keep log lines.

        OptionError: there are to be controls, but neither a token nor a Unix socket.
        """
        self.check_control()
        self.metrics = ServiceCollector(self.service)
        self.history, self.arrivals = History(), Arrivals(self.service)
        self.watch = Watch()
        self.service.hooks.register(self.watch)
        self._warned: dict[str, float] = {}
        self._ended = threading.Event()
        self._sampler: threading.Thread | None = None
        self.recent = RecentLines(self.LOG_LINES)
        questions: dict[str, Callable[[], Any]] = {
            "liveness": self.service.liveness,
            "readiness": self.service.readiness,
            "describe": self.service.describe,
            "stacks": lambda: handlers.format_stacks(self),
            "page": lambda: describe_page(self),
            "metrics": lambda: list(self.metrics.collect()),
        }
        self.asker = Asker(self.logger.name, questions, self.ANSWER_TIMEOUT)
        super().initTask()
        self.recent.install()

    def check(self) -> None:
        """See whether the controls are guarded, if there are to be any."""
        super().check()
        self.check_control()

    def check_control(self) -> None:
        """Raise OptionError if there are to be controls that nothing guards."""
        if self.control and not self.token and not self.address().path:
            variable = env_prefix(type(self.service)) + f"{self.option_prefix()}_token".upper()
            raise OptionError(
                f"{self.flag('control')} needs a token ({self.flag('token')}, or better a file "
                f"that {variable}_FILE names) or a Unix socket ({self.flag('sock')})."
            )

    def flag(self, name: str) -> str:
        """Return the flag of one of this task's options, for messages."""
        return f"--{self.option_prefix()}-{name}".replace("_", "-")

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

    def start_in_loop(self) -> None:
        """Begin to accept connections; warn if the token of the controls can be overheard."""
        self.feed = Feed(self)
        super().start_in_loop()
        self._announce()
        if self._sampler is None:
            name = f"{self.logger.name}.sampler"
            self._sampler = threading.Thread(target=self._sample, name=name, daemon=True)
            self._sampler.start()
        local = all(isinstance(each, str) or is_loopback(each) for each in self.bound_addrs)
        if self.control and not local and self.ssl_context is None:
            self.logger.warning(
                "The token of the controls crosses the network in the clear: give %s and %s.",
                self.flag("tls-cert"),
                self.flag("tls-key"),
            )

    def _announce(self) -> None:
        where = folder() if self.announce else None
        if where is None:
            return
        urls = [_url_of(each, self.ssl_context is not None) for each in self.bound_addrs]
        service = self.service
        told = {
            "name": service.name,
            "url": next((url for url in urls if url), ""),
            "version": service.VERSION,
            "started": service.start_time,
        }
        try:
            announced = Announcement(where, told)
        except OSError as error:
            self.logger.info("The service is not announced to `sparts ps`: %s", describe(error))
            return
        self.announcement = announced
        self._control_server = GracefulHTTPServer(
            self.application,
            task=self,
            loop=self.server.loop,
            max_body_size=self.max_body,
            idle_timeout=self.idle_timeout or 0.0,
            read_timeout=self.read_timeout or 0.0,
        )
        self._control_server.add_sockets([announced.socket])

    def _sample(self) -> None:
        """Keep a sample of all numbers, and have the checks asked; in a thread of its own."""
        asking = Asking()
        while True:
            try:
                self.arrivals.note()
                self.history.add(time.time(), read_figures(self))
                if self.service._checks:
                    with suppress(TimeoutError):  # one that hangs does not hold up the samples
                        asking.ask("checks", self.service.check_results)
            except Exception as error:  # of a counter or a hook
                self.logger.warning("The numbers could not be kept: %s", describe(error))
            if self._ended.wait(self.SAMPLE):
                return

    @cached_property
    def needed(self) -> frozenset[str]:
        """The names of the tasks that serve this page, which cannot be restarted from it."""
        service = self.service
        tasks = service.instances()
        return frozenset(each.name for each in tasks if self in with_dependants(service, each))

    def known_keys(self) -> list[str]:
        """Return the keys of all numbers."""
        return [figure.key for figure in read_figures(self).figures]

    def times_of(self, warnings: dict[str, str]) -> list[dict[str, Any]]:
        """Return warnings with the times at which they were first seen."""
        now = time.time()
        self._warned = {number: self._warned.get(number, now) for number in warnings}
        return [
            {"id": int(number), "text": text, "time": self._warned[number]}
            for number, text in warnings.items()
        ]

    async def stop_in_loop(self) -> None:
        """Tell the open pages good-bye, and let all other requests finish."""
        self.feed.close()
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
        self.service.hooks.unregister(self.watch)
        if self.announcement is not None:  # the loop has crashed, if it is there still
            self.announcement.close()
        seconds = min(self.HANGING, self.seconds_to_stop())
        hanging = self.asker.close(seconds)
        if self._sampler is not None:
            self._sampler.join(seconds if not hanging else 0.0)
        if hanging:
            self.logger.warning("Not waited for: what was asked for %s", ", ".join(hanging))
        self.recent.remove()

    def format_stacks(self) -> str:
        """Return where the threads are that ask the service."""
        return super().format_stacks() + "".join(map(format_thread, self.asker.threads()))


def _url_of(address: Any, tls: bool) -> str:
    """Return the URL of what a socket is bound to; ``""`` for a Unix socket."""
    if isinstance(address, str):
        return ""
    host, port = address[:2]
    host = {"0.0.0.0": "localhost", "::": "localhost"}.get(host, host)  # noqa: S104 - compared
    shown = f"[{host}]" if ":" in host else host
    return f"{'https' if tls else 'http'}://{shown}:{port}/"
