"""The server task: its options, its routes, and its life."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from sparts.errors import OptionError
from sparts.logs import RecentLines
from sparts.net.metering import access_level_name
from sparts.options import option
from sparts.options.binding import env_prefix
from sparts.stacks import format_thread
from sparts.tasks.tornado.access import allowed_host_option, is_loopback
from sparts.tasks.tornado.http import TornadoHTTPTask
from sparts.tasks.tornado.status import handlers
from sparts.tasks.tornado.status.asking import Asker
from sparts.tasks.tornado.status.control import control_routes
from sparts.tasks.tornado.status.feed import Events, Feed
from sparts.tasks.tornado.status.metrics import ServiceCollector
from sparts.tasks.tornado.status.page import describe_page

if TYPE_CHECKING:
    from collections.abc import Callable


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

    asker: Asker
    """Asks the service in threads, from `initTask` on."""
    feed: Feed
    """Keeps the pages that are open up to date, from the start on."""
    metrics: ServiceCollector
    """Reads the counters for Prometheus, from `initTask` on."""
    recent: RecentLines
    """The last log lines, from `initTask` on."""

    def initTask(self) -> None:  # noqa: N802
        """Prepare the routes, and begin to keep log lines.

        OptionError: there are to be controls, but neither a token nor a Unix socket.
        """
        self.check_control()
        self.metrics = ServiceCollector(self.service)
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
            ("/events", Events, mine),
            *handlers.page_routes(self),
            *(control_routes(self) if self.control else ()),
            (".*", handlers.NotFound, mine),
        ]

    def start_in_loop(self) -> None:
        """Begin to accept connections; warn if the token of the controls can be overheard."""
        self.feed = Feed(self)
        super().start_in_loop()
        local = all(isinstance(each, str) or is_loopback(each) for each in self.bound_addrs)
        if self.control and not local and self.ssl_context is None:
            self.logger.warning(
                "The token of the controls crosses the network in the clear: give %s and %s.",
                self.flag("tls-cert"),
                self.flag("tls-key"),
            )

    async def stop_in_loop(self) -> None:
        """Tell the open pages good-bye, and let all other requests finish."""
        self.feed.close()
        await super().stop_in_loop()

    def join(self) -> None:
        """Wait for the end of the server and of what it asks."""
        super().join()
        hanging = self.asker.close(min(self.HANGING, self.seconds_to_stop()))
        if hanging:
            self.logger.warning("Not waited for: what was asked for %s", ", ".join(hanging))
        self.recent.remove()

    def format_stacks(self) -> str:
        """Return where the threads are that ask the service."""
        return super().format_stacks() + "".join(map(format_thread, self.asker.threads()))
