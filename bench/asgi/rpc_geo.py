"""Geo over HTTP: `python rpc_geo.py rpc|rpc-threads|hand|fastapi|fastapi-threads`, on uvloop."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec
from sparts.rpc import RPCTask, rpc
from sparts.tasks.asgi import AsgiTask
from sparts.tasks.asgi.rpc import RPCHTTPTask
from sparts.vservice import VService

HOW = sys.argv[1]


@dataclass
class Point:
    """A place."""

    x: float
    y: float


def stamp(word: bytes, number: int) -> None:
    """Tell the benchmark a number."""
    os.write(int(os.environ["BENCH_FD"]), b"%s %d\n" % (word, number))


class Geo(RPCTask):
    """Distances and routes, in threads or in the loop."""

    INLINE = HOW == "rpc"

    @rpc(idempotent=True)
    def distance(self, a: Point, b: Point) -> float:
        """Return the distance."""
        return float(((a.x - b.x) ** 2 + (a.y - b.y) ** 2) ** 0.5)

    @rpc
    def route(self, points: list[Point]) -> list[Point]:
        """Return the points."""
        return points


class Distance(msgspec.Struct):
    """The arguments of one method."""

    a: Point
    b: Point


class Route(msgspec.Struct):
    """The arguments of the other."""

    points: list[Point]


Handler = tuple[Callable[[bytes], Any], Callable[[Any], Any]]
HANDLERS: dict[str, Handler] = {
    "/Geo/distance": (
        msgspec.json.Decoder(Distance).decode,
        lambda given: ((given.a.x - given.b.x) ** 2 + (given.a.y - given.b.y) ** 2) ** 0.5,
    ),
    "/Geo/route": (msgspec.json.Decoder(Route).decode, lambda given: given.points),
}
encode = msgspec.json.Encoder().encode


async def by_hand(scope: Any, receive: Any, send: Any) -> None:
    """Serve the methods as one writes them without RPC, with values checked as well."""
    decode, call = HANDLERS[scope["path"]]
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    try:
        data, status = encode(call(decode(body))), 200
    except msgspec.ValidationError as error:
        data, status = encode({"detail": str(error)}), 400
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(data))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": data})


def fastapi() -> Any:
    """Return the same for FastAPI."""
    from fastapi import Body, FastAPI

    def distance(a: Point = Body(), b: Point = Body()) -> float:  # noqa: B008 - FastAPI's way
        return float(((a.x - b.x) ** 2 + (a.y - b.y) ** 2) ** 0.5)

    def route(points: list[Point] = Body(embed=True)) -> list[Point]:  # noqa: B008
        return points

    async def distance_in_loop(a: Point = Body(), b: Point = Body()) -> float:  # noqa: B008
        return distance(a, b)

    async def route_in_loop(points: list[Point] = Body(embed=True)) -> list[Point]:  # noqa: B008
        return points

    threads = HOW == "fastapi-threads"
    app = FastAPI()
    kinds: dict[str, Any] = {"Point": Point}
    for function in (distance, route, distance_in_loop, route_in_loop):
        function.__globals__.update(kinds)
    app.post("/Geo/distance")(distance if threads else distance_in_loop)
    app.post("/Geo/route")(route if threads else route_in_loop)
    return app


class Stamped:
    """Says where it listens."""

    DEFAULT_HOST = "127.0.0.1"

    def start(self: Any) -> None:
        """Start, and stamp."""
        super().start()  # type: ignore[misc]
        stamp(b"port", self.bound_addrs[0][1])
        stamp(b"ready", time.monotonic_ns())


class ByRPC(Stamped, RPCHTTPTask):
    """By RPC."""

    DEFAULT_PORT = 0


class ByHand(Stamped, AsgiTask):
    """By hand, or by FastAPI, on the same uvicorn and loop, with the same counters."""

    def app(self) -> Any:
        """Return the application."""
        return by_hand if HOW == "hand" else fastapi()


class Service(VService):
    """Nothing but Geo."""

    TASKS = [Geo, ByRPC] if HOW.startswith("rpc") else [ByHand]


if __name__ == "__main__":
    sys.argv[1:] = ["--asyncio-uvloop", "--level", "ERROR"]
    Service.initFromCLI()
