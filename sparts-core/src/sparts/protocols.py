"""What libraries and the kernel need of a service and of a task.

`sparts.vservice.VService` and `sparts.vtask.VTask` are such. Whatever is below them takes these, so
that it can be read, and used, without them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

if TYPE_CHECKING:
    import argparse
    import logging
    from collections.abc import Mapping

    from sparts.counters.live import LiveNumber
    from sparts.states import ServiceStatus

TaskReference: TypeAlias = "type[Task] | str"
"""A task class, or one of the forms of its name: ``NAME``, ``NAME@DISTRIBUTION``, ``module:Class``,
or ``alias=`` and any of these."""


class Service(Protocol):
    """A service, as its parts and plugins see it."""

    VERSION: str
    name: str
    options: argparse.Namespace
    start_time: float
    restarting: bool
    plugin_data: dict[str, Any]

    @property
    def logger(self) -> logging.Logger: ...  # noqa: D102
    @property
    def listeners(self) -> Any: ...  # noqa: D102
    @property
    def status(self) -> ServiceStatus: ...  # noqa: D102
    def check_results(self) -> Mapping[str, str]: ...  # noqa: D102
    def status_details(self) -> str: ...  # noqa: D102
    def wait_stopping(self, timeout: float | None = None) -> bool: ...  # noqa: D102
    def getCounters(self) -> Mapping[str, LiveNumber]: ...  # noqa: D102, N802
    def getCounter(self, name: str) -> LiveNumber: ...  # noqa: D102, N802
    def getExportedValues(self) -> Mapping[str, str]: ...  # noqa: D102, N802
    def getExportedValue(self, name: str) -> str: ...  # noqa: D102, N802
    def getOptions(self) -> Mapping[str, Any]: ...  # noqa: D102, N802
    def setOption(self, name: str, value: Any) -> None: ...  # noqa: D102, N802
    def registerWarning(self, message: str) -> int: ...  # noqa: D102, N802
    def clearWarning(self, warning: int) -> bool: ...  # noqa: D102, N802
    def restart(self) -> None: ...  # noqa: D102
    def reload_parts(self) -> None: ...  # noqa: D102
    def run_process(self) -> Any: ...  # noqa: D102
    def shutdown(self) -> None: ...  # noqa: D102


class Task(Protocol):
    """A task, as its parts and plugins see it."""

    name: str
    logger: logging.Logger

    @property
    def service(self) -> Any: ...  # noqa: D102
    def initTask(self) -> None: ...  # noqa: D102, N802
    def start(self) -> None: ...  # noqa: D102
    def stop(self) -> None: ...  # noqa: D102
    def join(self) -> None: ...  # noqa: D102


def service_of(task: Any) -> Service:
    """Return the service of a task."""
    service: Service = task.service
    return service
