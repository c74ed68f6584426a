"""Geo from queues, by RPC or by hand: `python -m bench.rpc.serve_amqp rpc|hand URL`."""

from __future__ import annotations

import sys
from typing import Any

from sparts.tasks.amqp import AMQPQueueTask
from sparts.tasks.amqp.rpc import RPCAMQPTask
from sparts.vservice import VService

from bench.rpc.geo import Geo, Point

WORKERS = 4


class RPC(RPCAMQPTask):
    """Serves by RPC."""

    WORKERS = WORKERS


class Distance(AMQPQueueTask[list[Point], float]):
    """What somebody without RPC would write for one method."""

    QUEUE = "distance"
    WORKERS = WORKERS

    def execute(self, item: list[Point], context: Any) -> float:
        """Return the distance."""
        a, b = item
        return float(((a.x - b.x) ** 2 + (a.y - b.y) ** 2) ** 0.5)


class Route(AMQPQueueTask[list[Point], list[Point]]):
    """The other method."""

    QUEUE = "route"
    WORKERS = WORKERS

    def execute(self, item: list[Point], context: Any) -> list[Point]:
        """Return the points."""
        return item


class Service(VService):
    """Nothing but Geo."""

    TASKS = [Geo, RPC] if sys.argv[1:2] == ["rpc"] else [Distance, Route]


if __name__ == "__main__":
    url = sys.argv[2]
    brokers = ["--rpc-amqp-broker", url]
    if sys.argv[1] == "hand":
        brokers = ["--Distance-broker", url, "--Route-broker", url]
    service = Service.from_args([*brokers, "--level", "ERROR"])
    thread = service.startBG()
    print("ready", flush=True)
    thread.join()
