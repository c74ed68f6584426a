"""The service that is soaked: one task of every type that we ship, in one process."""

from __future__ import annotations

import contextlib
from typing import ClassVar

from sparts.tasks.fb303 import FB303HandlerTask
from sparts.vservice import VService
from sparts.vtask import TaskReference

from soak.jobs import JOBS
from soak.on_asgi import Asgi, Wsgi
from soak.on_dbus import Bus
from soak.on_grpc import Grpc
from soak.on_rpc import RPC
from soak.on_thrift import SoakHandler, Thrift, ThriftOverHTTP
from soak.on_twisted import Lines, Ticks
from soak.web import Status, Web

GLIB: list[TaskReference] = []
with contextlib.suppress(ImportError):  # it has to be built, see `make glib`
    from soak.on_glib import GLibBeat, GLibLoop

    GLIB = [GLibLoop, GLibBeat]


class Soaked(VService):
    """Does everything at the same time."""

    VERSION = "1"
    TASKS: ClassVar[list[TaskReference]] = [
        *(Status, *JOBS, *GLIB),
        *(Web, SoakHandler, FB303HandlerTask, Thrift, ThriftOverHTTP, Lines, Ticks, Bus),
        *(Asgi, Wsgi, Grpc),
        *RPC,
    ]


if __name__ == "__main__":
    Soaked.initFromCLI()
