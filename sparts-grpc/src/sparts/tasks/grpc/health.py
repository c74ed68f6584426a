"""The health service of gRPC: whether a client should send calls here, now and from now on."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from grpc_health.v1 import health_pb2, health_pb2_grpc
from sparts.hookspecs import hookimpl
from sparts.shown import ours

import grpc

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from sparts.tasks.grpc.protocols import ServedTask

_Status = Any
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
UNKNOWN = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN


class Health(health_pb2_grpc.HealthServicer):  # type: ignore[misc]
    """SERVING while the sparts service is ready, for it as a whole and each of its gRPC services.

    Args:
        task: whose service it is.
        services: the names of the gRPC services.
    """

    def __init__(self, task: ServedTask, services: Iterable[str]) -> None:
        self._task, self._services = task, services
        self._news = asyncio.Event()  # a new one for each change
        self._ending = False

    @hookimpl
    def sparts_service_change(self) -> None:
        """Inform watchers; called in any thread when the service begins or ends to serve."""
        self._task.loop_task.post_if_open(self._tell)

    @hookimpl
    def sparts_task_change(self) -> None:
        """Inform watchers; called in any thread when a task begins or ceases to work."""
        self._task.loop_task.post_if_open(self._tell)

    def end(self) -> None:
        """End what watches; called in the loop when the task stops."""
        self._ending = True
        self._tell()

    def _tell(self) -> None:
        news, self._news = self._news, asyncio.Event()
        news.set()

    def _status(self, service: str) -> _Status:
        if service and service not in self._services:
            return UNKNOWN
        ready = ours(self._task.service).health.ready
        return SERVING if ready and not self._ending else NOT_SERVING

    async def Check(self, request: Any, context: Any) -> Any:  # noqa: N802 - gRPC's name
        """Return the status of a service; NOT_FOUND if there is none of that name."""
        status = self._status(request.service)
        if status is UNKNOWN or status == UNKNOWN:
            await context.abort(grpc.StatusCode.NOT_FOUND, "There is no such service.")
        return health_pb2.HealthCheckResponse(status=status)

    async def List(self, request: Any, context: Any) -> Any:  # noqa: N802 - gRPC's name
        """Return the statuses of all services."""
        names = ["", *self._services]
        statuses = {
            name: health_pb2.HealthCheckResponse(status=self._status(name)) for name in names
        }
        return health_pb2.HealthListResponse(statuses=statuses)

    async def Watch(self, request: Any, context: Any) -> AsyncIterator[Any]:  # noqa: N802
        """Give the status of a service now and at each change, until the task stops."""
        last = None
        while True:
            news = self._news
            status = self._status(request.service)
            if status != last:
                last = status
                yield health_pb2.HealthCheckResponse(status=status)
            if self._ending:
                return
            await news.wait()
