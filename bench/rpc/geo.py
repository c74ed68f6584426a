"""The methods that the RPC benchmarks call: as an `RPCTask`, once for all transports."""

from __future__ import annotations

from dataclasses import dataclass

from sparts.rpc import RPCError, RPCTask, rpc


@dataclass
class Point:
    """A place."""

    x: float
    y: float


class TooFar(RPCError):  # noqa: N818 - as services name them
    """The points are farther apart than a route may be."""


class Geo(RPCTask):
    """Distances and routes."""

    @rpc(idempotent=True)
    def distance(self, a: Point, b: Point) -> float:
        """Return the distance."""
        return float(((a.x - b.x) ** 2 + (a.y - b.y) ** 2) ** 0.5)

    @rpc
    def route(self, points: list[Point]) -> list[Point]:
        """Return the points."""
        return points


NESTED = 25
"""How many points a route has."""
