"""RPC over thrift: what the contract of transports leaves out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sparts.rpc import NoSuchMethodError, RPCTask, connect, rpc
from sparts.tasks.thrift.rpc import RPCThriftTask
from sparts.testing.running import ServiceFactory, service_of
from sparts.testing.waiting import restart

from tests.rpc.conftest import here, url_of
from tests.rpc.odd import OddTask


@pytest.fixture(scope="module")
def url(factory: ServiceFactory) -> str:
    return url_of(factory(service_of(OddTask, RPCThriftTask), *here("thrift")), "thrift")


class OtherOdd(RPCTask):
    @rpc
    def missing(self) -> None:
        """Be missing at the server."""


def test_unknown_methods_and_servers_are_told_apart(url: str) -> None:
    other: Any = type("OddTask", (OtherOdd,), {})
    with connect(url, other) as proxy, pytest.raises(NoSuchMethodError, match="no method"):
        proxy.missing()
    with connect(url, OtherOdd) as proxy, pytest.raises(NoSuchMethodError, match="no service"):
        proxy.missing()


@pytest.mark.parametrize("options", [{}, {"multiplex": False}], ids=repr)
def test_calls_go_on_after_a_restart(
    options: Any, service_factory: ServiceFactory, tmp_path: Path
) -> None:
    path = str(tmp_path / "rpc.sock")
    service = service_factory(service_of(OddTask, RPCThriftTask), "--rpc-thrift-sock", path)
    with connect(f"thrift://{path}", OddTask, **options) as odd:
        assert odd.total(iter([1])) == 1
        restart(service)
        assert odd.total(iter([2])) == 2
