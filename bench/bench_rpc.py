"""Calls a second of methods that are written once, beside the same methods written by hand.

Each transport is a module of `bench.rpc` with ``measure(report, folder)``. `python -m
bench.bench_rpc thrift` measures one of them.
"""

from __future__ import annotations

import importlib
import sys
import tempfile
from pathlib import Path

from bench.harness import Report

TRANSPORTS = ("http", "thrift", "dbus", "grpc", "amqp")
PACKAGES = (
    "sparts-core", "sparts-asgi", "sparts-thrift", "sparts-dbus", "sparts-grpc", "msgspec",
    "thrift", "dbus-fast", "grpcio", "protobuf",
)  # fmt: skip

if __name__ == "__main__":
    with Report("rpc", packages=PACKAGES) as report, tempfile.TemporaryDirectory() as name:
        for transport in sys.argv[1:] or TRANSPORTS:
            folder = Path(name) / transport
            folder.mkdir()
            importlib.import_module(f"bench.rpc.{transport}").measure(report, folder)
