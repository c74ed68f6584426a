"""Geo over gRPC, by RPC or by hand: `python -m bench.rpc.serve_grpc rpc|hand FOLDER`.

FOLDER holds what grpcio-tools made of the IDL. The process writes its port and serves until it is
killed.
"""

from __future__ import annotations

import importlib
import sys
from typing import Any

from sparts.tasks.grpc import GrpcTask
from sparts.tasks.grpc.rpc import RPCGrpcTask
from sparts.vservice import VService

from bench.rpc.geo import Geo, Point


class Saying(GrpcTask):
    """Says where it listens."""

    def start(self) -> None:
        """Start, and say it."""
        super().start()
        print(self.bound_addrs[0][1], flush=True)


class RPC(RPCGrpcTask, Saying):
    """Serves by RPC."""


def by_hand(folder: str) -> type[GrpcTask]:
    """Return the task that somebody without RPC would write."""
    sys.path.insert(0, folder)
    messages: Any = importlib.import_module("geo_pb2")
    services: Any = importlib.import_module("geo_pb2_grpc")

    class Servicer(services.GeoServicer):  # type: ignore[misc]
        """Distances and routes."""

        def distance(self, request: Any, context: Any) -> Any:
            """Return the distance."""
            a, b = request.a, request.b
            distance = ((a.x - b.x) ** 2 + (a.y - b.y) ** 2) ** 0.5
            return messages.GeoDistanceResponse(result=distance)

        def route(self, request: Any, context: Any) -> Any:
            """Return the points, by way of the objects that the service works with."""
            points = [Point(each.x, each.y) for each in request.points]
            return messages.GeoRouteResponse(
                result=[messages.GeoPoint(x=each.x, y=each.y) for each in points]
            )

    return type("ByHand", (Saying,), {"SERVICERS": [Servicer]})


class Service(VService):
    """Nothing but Geo."""

    TASKS = [Geo, RPC] if sys.argv[1] == "rpc" else [by_hand(sys.argv[2])]


if __name__ == "__main__":
    prefix = "rpc-grpc" if sys.argv[1] == "rpc" else "grpc"
    argv = [f"--{prefix}-host", "127.0.0.1", f"--{prefix}-port", "0", "--level", "ERROR"]
    service = Service.from_args(argv)
    Service.initFromOptions(service.options)
