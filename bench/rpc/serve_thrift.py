"""Geo over thrift, by RPC or by hand: `python -m bench.rpc.serve_thrift rpc|hand FOLDER`.

FOLDER holds what the thrift compiler made of the IDL. The process writes its port and serves until
it is killed.
"""

from __future__ import annotations

import importlib
import sys
from typing import Any

from sparts.tasks.thrift import ThriftHandlerTask
from sparts.tasks.thrift.nbserver import NBServerTask
from sparts.tasks.thrift.rpc import RPCThriftTask
from sparts.vservice import VService

from bench.rpc.geo import Geo


class Saying(NBServerTask):
    """Says where it listens."""

    def start(self) -> None:
        """Start, and say it."""
        super().start()
        print(self.bound_port, flush=True)


class RPC(RPCThriftTask, Saying):
    """Serves by RPC."""


def by_hand(folder: str) -> type[ThriftHandlerTask]:
    """Return the handler that somebody without RPC would write."""
    sys.path.insert(0, folder)
    module: Any = importlib.import_module("geo.Geo")

    class Handler(ThriftHandlerTask):
        """Distances and routes."""

        MODULE = module

        def distance(self, a: Any, b: Any) -> float:
            """Return the distance."""
            return float(((a.x - b.x) ** 2 + (a.y - b.y) ** 2) ** 0.5)

        def route(self, points: list[Any]) -> list[Any]:
            """Return the points."""
            return points

    return Handler


class Service(VService):
    """Nothing but Geo."""

    TASKS = [Geo, RPC] if sys.argv[1] == "rpc" else [by_hand(sys.argv[2]), Saying]


if __name__ == "__main__":
    prefix = "rpc-thrift" if sys.argv[1] == "rpc" else "thrift"
    argv = [f"--{prefix}-host", "127.0.0.1", f"--{prefix}-port", "0", "--level", "ERROR"]
    service = Service.from_args(argv)
    Service.initFromOptions(service.options)
