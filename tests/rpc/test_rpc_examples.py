"""The example of RPC answers over each of its transports, and its interface files are printed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sparts.rpc import connect
from sparts.testing.running import ServiceFactory

from tests.dbus.daemons import Daemon

EXAMPLES = Path(__file__).parents[2] / "examples"
TRANSPORTS = ("http", "thrift", "dbus", "grpc")
pytestmark = pytest.mark.needs("dbus")


@pytest.fixture(scope="module")
def example() -> Iterator[Any]:
    sys.path.insert(0, str(EXAMPLES))
    import rpc_geo  # type: ignore[import-not-found, unused-ignore]

    yield rpc_geo
    sys.path.remove(str(EXAMPLES))


@pytest.fixture(scope="module")
def urls(example: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Run the service; give its URLs by transport."""
    factory = ServiceFactory()
    with Daemon(tmp_path_factory.mktemp("bus")) as bus:
        argv = []
        for name in ("http", "thrift", "grpc"):
            argv += [f"--rpc-{name}-host", "127.0.0.1", f"--rpc-{name}-port", "0"]
        service = factory(example.MyService, *argv, "--rpc-dbus-address", bus.address)
        found = {"dbus": f"dbus:org.sparts.rpc.MyService?bus={bus.address}"}
        for scheme, name in (("http", "HTTP"), ("thrift", "Thrift"), ("grpc", "Grpc")):
            port = service.requireTask(f"RPC{name}Task").bound_addrs[0][1]
            found[scheme] = f"{scheme}://127.0.0.1:{port}"
        yield found
        factory.close()


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_every_transport_has_the_same_methods(
    urls: dict[str, str], example: Any, transport: str
) -> None:
    points = [example.Point(0.0, 0.0), example.Point(3.0, 4.0), example.Point(3.0, 5.0)]
    with connect(urls[transport], example.Geo) as geo:
        assert geo.distance(points[0], points[1]) == 5.0
        assert geo.route(points) == 6.0
        with pytest.raises(example.TooFar, match="farther apart than a route may be"):
            geo.route([points[0], example.Point(0.0, 2e6)])


def test_the_command_prints_the_thrift_file() -> None:
    command = [str(Path(sys.executable).with_name("sparts")), "rpc", "idl", "--thrift"]
    done = subprocess.run(
        [*command, "rpc_geo:MyService"], cwd=EXAMPLES, capture_output=True, text=True, check=True
    )
    assert "service Geo {" in done.stdout
    assert "double distance(1: Point a, 2: Point b) throws (1: TooFar tooFar)" in done.stdout


def test_files_for_the_bus_name_the_service() -> None:
    command = [str(Path(sys.executable).with_name("sparts")), "dbus-install", "rpc_geo:MyService"]
    done = subprocess.run(
        [*command, "--dry-run"], cwd=EXAMPLES, capture_output=True, text=True, check=True
    )
    assert "Name=org.sparts.rpc.MyService" in done.stdout
