"""What the handlers and the page know of the status task: its options, and what it remembers."""

from __future__ import annotations

import time
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from sparts.net.hosts import allowed_host_option
from sparts.net.metering import access_level_name
from sparts.option_types import Expected
from sparts.options import Option, flag_of, option
from sparts.tasks.tornado.http import TornadoHTTPTask
from sparts.tasks.tornado.status.figures import Figures
from sparts.tasks.tornado.status.history import EVERY

if TYPE_CHECKING:
    from sparts.tasks.tornado.console.registry import Announcement, Inherited
    from sparts.tasks.tornado.status.arrivals import Arrivals
    from sparts.tasks.tornado.status.asking import Asker
    from sparts.tasks.tornado.status.history import History
    from sparts.tasks.tornado.status.metrics import ServiceCollector
    from sparts.tasks.tornado.status.recent import RecentLines
    from sparts.tasks.tornado.status.watch import Watch


def url_list(text: str) -> list[str]:
    """URLs with commas between them."""
    urls = [each.strip() for each in text.split(",") if each.strip()]
    if not all(url.startswith(("http://", "https://")) for url in urls):
        raise Expected("URLs (http:// or https://) with commas between them")
    return urls


class StatusTask(TornadoHTTPTask):
    """The part of `sparts.tasks.tornado.status.task.StatusHTTPTask` that serves nothing."""

    ANSWER_TIMEOUT: ClassVar[float] = 5.0
    """Seconds after which what the service has not answered is given up: then the answer is 503."""
    HANGING: ClassVar[float] = 1.0
    """Seconds that a stop waits for what the service has not answered yet."""
    SAMPLE: ClassVar[float] = EVERY
    """Seconds between two samples for the plots of the last hour."""
    LOG_LINES: ClassVar[int] = 500
    """How many of the last log lines are kept for the page."""
    TICK: ClassVar[float] = 1.0
    """Seconds between two updates of the page, while somebody looks at it."""

    control: Option[bool] = option(
        action="store_true",
        default=False,
        help="let the page change options, run tasks, restart and shut down the service; needs a "
        "token or a Unix socket",
        reloadable=False,
    )
    token: Option[str] = option(
        type=str,
        metavar="TOKEN",
        help="token that clients need to use the controls",
        secret=True,
    )
    access_log: Option[str] = option(
        type=access_level_name,
        default="OFF",  # a probe that says 503 is no error of the server
        metavar="LEVEL",
        help="which requests to log: INFO all, WARNING those of status 400 or more, ERROR those of "
        "500 or more, OFF none",
        advanced=True,
    )
    allowed_host: Option[list[str] | None] = allowed_host_option()
    peers: Option[list[str]] = option(
        type=url_list,
        metavar="URL,...",
        help="status pages of more instances, which this page shows together",
        advanced=True,
    )
    announce: Option[bool] = option(
        type=bool,
        default=True,
        help="announce the service to `sparts ps` and the other commands on this machine",
        reloadable=False,
        advanced=True,
    )

    asker: Asker
    """Asks the service in threads, from `initTask` on."""
    feed: Any
    """A `sparts.tasks.tornado.status.feed.Feed`, from the start on."""
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
    announcement: Announcement | Inherited | None = None
    """Where `sparts ps` finds the service, while it accepts connections."""

    copies: Any = None
    """A `sparts.tasks.tornado.status.copies.Copies`, if the service runs as several copies."""

    _warned: dict[str, float]

    def flag(self, name: str) -> str:
        """Return the flag of one of this task's options, for messages."""
        return flag_of(type(self), name)

    @cached_property
    def needed(self) -> frozenset[str]:
        """The names of the tasks that serve this page, which cannot be restarted from it."""
        found, rest = {self.name}, [self.name]
        while rest:
            task = self.service.requireTask(rest.pop())
            more = {each.name for each in self._instance.tasks.dependencies(task)} - found
            found |= more
            rest += more
        return frozenset(found)

    def figures(self) -> Figures:
        """Return all numbers of the service as they are now; in any thread."""
        return Figures(self._instance.stats.describe_counters(), self.name)

    def known_keys(self) -> list[str]:
        """Return the keys of all numbers."""
        return [figure.key for figure in self.figures().figures]

    def times_of(self, warnings: dict[str, str]) -> list[dict[str, Any]]:
        """Return warnings with the times at which they were first seen."""
        now = time.time()
        self._warned = {number: self._warned.get(number, now) for number in warnings}
        return [
            {"id": int(number), "text": text, "time": self._warned[number]}
            for number, text in warnings.items()
        ]
