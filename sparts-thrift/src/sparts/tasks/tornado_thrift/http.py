"""A server of thrift over HTTP as a task."""

from __future__ import annotations

from typing import Any, ClassVar

from sparts.net.hosts import allowed_host_option
from sparts.option_types import size
from sparts.options import Option, option
from sparts.tasks.thrift.server import ThriftServerTask
from sparts.tasks.tornado import TornadoHTTPTask
from sparts.tasks.tornado_thrift.handler import TornadoThriftHandler


class ThriftHTTPTask(ThriftServerTask, TornadoHTTPTask):
    """Serves thrift over HTTP: calls by POST, binary, compact or JSON by their content type.

    A browser must not make calls for somebody else's page: content types other than thrift's,
    other origins, and host names that only point here are refused (415 and 403).
    """

    OPT_PREFIX: ClassVar[str | None] = "thrift_http"

    max_frame: Option[int] = option(
        type=size,
        default="16MiB",
        metavar="SIZE",
        reloadable=False,
        help="longest request; a longer one is refused",
        advanced=True,
    )
    allowed_host: Option[list[str] | None] = allowed_host_option()

    def getApplicationConfig(self) -> list[Any]:  # noqa: N802
        """Return one route, of every path, to the handlers."""
        arguments = {
            "processor": self.router,
            "max_frame": self.max_frame,
            "allowed_hosts": self.allowed_host or (),
            "memory": self.memory,
        }
        return [(r"/.*", TornadoThriftHandler, arguments)]
