"""The example of RPC answers over each of its transports, and its interface files are printed."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sparts.rpc import connect
from sparts.testing.running import ServiceFactory

from tests.dbus.daemons import Daemon
from tests.processes import output_of
from tests.rpc.conftest import here, url_of

SPARTS = Path(sys.executable).with_name("sparts")
EXAMPLES = Path(__file__).parents[2] / "examples"
TRANSPORTS = ("http", "thrift", "grpc", "dbus")
pytestmark = pytest.mark.needs("dbus")


@pytest.fixture(scope="module")
def example() -> Iterator[Any]:
    sys.path.insert(0, str(EXAMPLES))
    import rpc_geo  # type: ignore[import-not-found, unused-ignore]

    yield rpc_geo
    sys.path.remove(str(EXAMPLES))


@pytest.fixture(scope="module")
def urls(
    example: Any, factory: ServiceFactory, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, str]]:
    """Run the service; give its URLs by transport."""
    with Daemon(tmp_path_factory.mktemp("bus")) as bus:
        argv = [option for name in TRANSPORTS[:-1] for option in here(name)]
        service = factory(example.MyService, *argv, "--rpc-dbus-address", bus.address)
        found = {scheme: url_of(service, scheme) for scheme in TRANSPORTS[:-1]}
        yield {**found, "dbus": f"dbus:org.sparts.rpc.MyService?bus={bus.address}"}
        factory.stop(service)


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
    said = output_of([SPARTS, "rpc", "idl", "--thrift", "rpc_geo:MyService"], cwd=EXAMPLES)
    assert "service Geo {" in said
    assert "double distance(1: Point a, 2: Point b) throws (1: TooFar tooFar)" in said


def test_files_for_the_bus_name_the_service() -> None:
    command = [SPARTS, "dbus-install", "rpc_geo:MyService", "--dry-run"]
    assert "Name=org.sparts.rpc.MyService" in output_of(command, cwd=EXAMPLES)
