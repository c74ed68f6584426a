"""Methods that are written once, and called over HTTP, thrift, D-Bus and gRPC.

    python examples/rpc_geo.py --rpc-dbus-optional        # without a session bus, too
    sparts call http://127.0.0.1:8090 Geo.distance '{"a": {"x": 0, "y": 0}, "b": {"x": 3, "y": 4}}'
    sparts rpc idl --thrift rpc_geo:MyService             # in examples/; --proto for gRPC
"""

import math
from dataclasses import dataclass
from itertools import pairwise

from sparts.rpc import RPCError, RPCTask, rpc
from sparts.vservice import VService


@dataclass
class Point:
    x: float
    y: float


class TooFar(RPCError):  # noqa: N818 - as the caller reads it
    """The points are farther apart than a route may be."""


class Geo(RPCTask):
    """Distances and routes."""

    @rpc(idempotent=True)
    def distance(self, a: Point, b: Point) -> float:
        """Return the distance in metres."""
        return math.hypot(a.x - b.x, a.y - b.y)

    @rpc
    def route(self, points: list[Point]) -> float:
        """Return the length of a route; it has no stage of more than 1000 km."""
        stages = [self.distance(*pair) for pair in pairwise(points)]
        if max(stages, default=0.0) > 1_000_000:
            raise TooFar
        return sum(stages)


class MyService(VService):
    TASKS = [Geo, "RPCHTTPTask", "RPCThriftTask", "RPCDBusTask", "RPCGrpcTask"]


if __name__ == "__main__":
    MyService.initFromCLI()
