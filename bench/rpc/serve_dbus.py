"""Geo on D-Bus, by RPC or by hand: `python -m bench.rpc.serve_dbus rpc|hand`."""

from __future__ import annotations

import sys
from typing import NamedTuple

from sparts.tasks.dbus import DBusServiceTask, dbus_method
from sparts.tasks.dbus.rpc import RPCDBusTask
from sparts.vservice import VService

from bench.rpc.geo import Geo

NAME = "org.example.Bench"


class Place(NamedTuple):
    """A place, as one writes it for D-Bus."""

    x: float
    y: float


class ByHand(DBusServiceTask):
    """Distances and routes, as somebody without RPC would write them."""

    OPT_PREFIX = "rpc-dbus"
    PATH = "/org/example/Bench/Geo"
    INTERFACE = f"{NAME}.Geo"

    @dbus_method
    def distance(self, a: Place, b: Place) -> float:
        """Return the distance."""
        return float(((a.x - b.x) ** 2 + (a.y - b.y) ** 2) ** 0.5)

    @dbus_method
    def route(self, points: list[Place]) -> list[Place]:
        """Return the points."""
        return points


class Service(VService):
    """Nothing but Geo."""

    TASKS = [Geo, RPCDBusTask] if sys.argv[1] == "rpc" else [ByHand]


if __name__ == "__main__":
    service = Service.from_args(["--rpc-dbus-bus-name", NAME, "--level", "ERROR"])
    Service.initFromOptions(service.options)
