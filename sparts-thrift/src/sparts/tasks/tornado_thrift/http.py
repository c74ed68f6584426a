"""A server of thrift over HTTP as a task."""

from __future__ import annotations

from typing import Any

from sparts.option_types import size
from sparts.options import option
from sparts.tasks.thrift.server import ThriftServerTask
from sparts.tasks.tornado import TornadoHTTPTask
from sparts.tasks.tornado_thrift.handler import TornadoThriftHandler


class ThriftHTTPTask(ThriftServerTask, TornadoHTTPTask):
    """Serves thrift over HTTP: calls by POST, binary, compact or JSON by their content type."""

    OPT_PREFIX = "thrift_http"

    max_frame = option(
        type=size,
        default="16MiB",
        metavar="SIZE",
        reloadable=False,
        help="the longest request that is read",
    )

    def getApplicationConfig(self) -> list[Any]:  # noqa: N802
        """Return one route, of every path, to the handlers."""
        arguments = {"processor": self.router, "max_frame": self.max_frame}
        return [(r"/.*", TornadoThriftHandler, arguments)]
