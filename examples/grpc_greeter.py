"""A gRPC server that calls itself once a second: `python grpc_greeter.py --grpc-port 50051`.

`grpc.protos_and_services` needs grpcio-tools. Without it, import the modules that
`python -m grpc_tools.protoc -I. --python_out=. --grpc_python_out=. greeter.proto` makes.
"""

from typing import Any

import grpc
from sparts.context import ExecuteContext
from sparts.tasks.grpc import GrpcClientTask, GrpcTask
from sparts.tasks.periodic import PeriodicTask
from sparts.vservice import VService

messages, services = grpc.protos_and_services("greeter.proto")
Base: Any = services.GreeterServicer


class Greeter(Base):  # type: ignore[misc]
    """Greets."""

    async def Greet(self, request: Any, context: Any) -> Any:  # noqa: N802 - gRPC's name
        """Greet a caller who has a name."""
        if not request.name:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "Who are you?")
        return messages.Greeting(text=f"Hello, {request.name}")


class Server(GrpcTask):
    """Serves it, and the health service."""

    SERVICERS = (Greeter,)


class Client(GrpcClientTask):
    """Calls it."""

    IDEMPOTENT = ("demo.Greeter/Greet",)


class Caller(PeriodicTask):
    """Asks for a greeting."""

    DEPS = (Server, Client)
    INTERVAL = 1.0

    def execute(self, context: ExecuteContext | None = None) -> None:
        """Ask."""
        host, port = self.service.requireTask(Server).bound_addrs[0][:2]
        where = "localhost" if host in ("0.0.0.0", "::") else host  # noqa: S104
        greeter = services.GreeterStub(self.service.requireTask(Client).channel(f"{where}:{port}"))
        self.logger.info(greeter.Greet(messages.Name(name="you")).text)


class GreeterService(VService):
    """All of it."""

    TASKS = (Caller,)


if __name__ == "__main__":
    GreeterService.initFromCLI()
