"""The service that is soaked: one task of every type that we ship, in one process."""

from __future__ import annotations

from typing import ClassVar

from sparts.taskset import TaskReference
from sparts.vservice import VService

from tests.soak.jobs import JOBS
from tests.soak.on_dbus import Bus
from tests.soak.on_thrift import SoakHandler, Thrift
from tests.soak.on_twisted import Lines, Ticks
from tests.soak.web import Web


class Soaked(VService):
    """Does everything at the same time."""

    VERSION = "1"
    TASKS: ClassVar[list[TaskReference]] = [*JOBS, Web, SoakHandler, Thrift, Lines, Ticks, Bus]


if __name__ == "__main__":
    Soaked.initFromCLI()
