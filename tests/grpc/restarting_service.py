"""A service of the tests as a process: the greeters, and a restart when a client asks for it."""

from __future__ import annotations

from typing import Any

from sparts.vservice import VService

from tests.grpc.greeters import Greeter, GreeterTask, ThreadGreeter


class RestartingGreeter(Greeter):
    """Restarts the service at ``restart``."""

    async def Greet(self, request: Any, context: Any) -> Any:  # noqa: N802 - gRPC's name
        """Greet."""
        if request.text == "restart":
            context.service.restart()
        return await super().Greet(request, context)


class RestartingTask(GreeterTask):
    """Serves it."""

    SERVICERS = (RestartingGreeter, ThreadGreeter)


class RestartingService(VService):
    """Restarts when a client says so."""

    TASKS = (RestartingTask,)


if __name__ == "__main__":
    RestartingService.initFromCLI()
