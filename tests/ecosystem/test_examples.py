"""Every example starts, and ends well on ^C."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

import pytest

from scripts.build_distributions import ROOT
from tests.dbus.daemons import Daemon
from tests.needs import require, require_module
from tests.processes import ServiceProcess, clean_environment

TOOLS = {"fb303_client"}  # no services: the tests of their distributions run them
EXAMPLES = sorted(
    set((ROOT / "examples").glob("*.py")) - {ROOT / "examples" / f"{t}.py" for t in TOOLS}
)
OPTIONS = {
    "asgi_service": ["--asgi-port", "0"],
    "wsgi_service": ["--wsgi-port", "0"],
    "http_by_class": ["--http-port", "0"],
    "http_by_name": ["--http-port", "0"],
    "grpc_greeter": ["--grpc-port", "0"],
    "one_loop": ["--http-port", "0"],
    "three_loops": ["--http-port", "0"],
    "http_client": ["--http-port", "0"],
    "http_stream": ["--http-port", "0"],
    "http_websocket": ["--http-port", "0"],
    "https": ["--https-port", "0"],
    "status": ["--status-port", "0"],
    "processes": ["--processes", "2", "--http-port", "0"],
    "rpc_geo": [
        each for name in ("http", "thrift", "grpc") for each in (f"--rpc-{name}-port", "0")
    ],
}


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_example_starts_and_ends_in_order(example: Path, tmp_path: Path) -> None:
    command = [sys.executable, str(example), *OPTIONS.get(example.stem, [])]
    with contextlib.ExitStack() as stack:
        env = None
        if example.stem.startswith(("dbus", "rpc")):
            require(["dbus"])
            bus = stack.enter_context(Daemon(tmp_path / "bus"))
            env = clean_environment(DBUS_SESSION_BUS_ADDRESS=bus.address)
        if example.stem.startswith("glib"):
            require_module(["gi"])
        service = stack.enter_context(ServiceProcess(command, cwd=tmp_path, env=env))
        service.read_until_started()
        assert service.stop() == 0, service.output
        assert "Instance shut down gracefully" in service.output
        assert "Traceback" not in service.output
