"""Every transport keeps the contract of RPC transports."""

from __future__ import annotations

import contextlib
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar

import pytest
from sparts.tasks.amqp.rpc import RPCAMQPTask
from sparts.tasks.asgi.rpc import RPCHTTPTask
from sparts.tasks.dbus.rpc import RPCDBusTask
from sparts.tasks.grpc.rpc import RPCGrpcTask
from sparts.tasks.thrift.rpc import RPCThriftTask
from sparts.testing.leftovers import allow
from sparts.testing.rpc import RPCTransportContract
from sparts.vservice import VService

from tests.amqp.rabbit import Rabbit
from tests.dbus.daemons import Daemon
from tests.needs import require

# grpcio's: it ends when the collector finds the last object of grpc.aio, such as that of an error.
allow(thread=r"Thread-\d+ \(_poll_wrapper\)")


class TestLocal(RPCTransportContract):
    def url(self, service: VService) -> str:
        return f"local:{service.name}"


class TestHTTP(RPCTransportContract):
    transport = RPCHTTPTask
    argv = ("--rpc-http-host", "127.0.0.1", "--rpc-http-port", "0")
    scheme = "http"

    def url(self, service: VService) -> str:
        server: Any = service.requireTask(self.transport)
        return f"{self.scheme}://127.0.0.1:{server.bound_addrs[0][1]}"


class TestGrpc(TestHTTP):
    transport: ClassVar[Any] = RPCGrpcTask
    argv = ("--rpc-grpc-host", "127.0.0.1", "--rpc-grpc-port", "0")
    scheme = "grpc"


class TestThrift(TestHTTP):
    transport: ClassVar[Any] = RPCThriftTask
    cancels = False
    argv = ("--rpc-thrift-host", "127.0.0.1", "--rpc-thrift-port", "0")
    scheme = "thrift"


class Broker(RPCTransportContract):
    """What holds for a transport whose server and clients meet at a broker."""

    cancels = False
    stack: ClassVar[contextlib.ExitStack]

    @classmethod
    def setup_class(cls) -> None:
        cls.stack = contextlib.ExitStack()
        cls.begin()
        super().setup_class()

    @classmethod
    def begin(cls) -> None:
        """Start the broker."""

    @classmethod
    def teardown_class(cls) -> None:
        super().teardown_class()
        cls.stack.close()


@pytest.mark.needs("dbus")
class TestDBus(Broker):
    transport = RPCDBusTask
    daemon: ClassVar[Daemon]

    @classmethod
    def begin(cls) -> None:
        folder = Path(cls.stack.enter_context(TemporaryDirectory()))
        cls.daemon = cls.stack.enter_context(Daemon(folder / "bus"))
        cls.argv = ("--rpc-dbus-address", cls.daemon.address)

    def url(self, service: VService) -> str:
        return f"dbus:{service.requireTask(RPCDBusTask).name_on_bus}?bus={self.daemon.address}"


@pytest.mark.one_python
class TestAMQP(Broker):
    transport = RPCAMQPTask
    node: ClassVar[Rabbit]
    address: ClassVar[str]

    @classmethod
    def begin(cls) -> None:
        require(["rabbitmq-server"])
        cls.node = cls.stack.enter_context(Rabbit())
        cls.use(cls.node.url)

    @classmethod
    def use(cls, address: str) -> None:
        cls.address, cls.argv = address, ("--rpc-amqp-broker", address)

    def test_stop_lets_calls_finish_and_takes_none(self) -> None:
        before = self.address
        self.node.control("add_vhost", "other")  # where no other instance serves the queue
        self.node.control("set_permissions", "-p", "other", "guest", ".*", ".*", ".*")
        try:
            self.use(f"{before}other")
            super().test_stop_lets_calls_finish_and_takes_none()
        finally:
            self.use(before)

    def url(self, service: VService) -> str:
        return self.address
