"""AMQP keeps the contract of RPC transports."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import pytest
from sparts.tasks.amqp.rpc import RPCAMQPTask
from sparts.testing.rpc import RPCTransportContract
from sparts.vservice import VService

from tests.amqp.rabbit import Rabbit
from tests.needs import require

pytestmark = pytest.mark.one_python


@pytest.fixture(scope="class", autouse=True)
def node(request: pytest.FixtureRequest) -> Iterator[None]:
    require(["rabbitmq-server"])
    with Rabbit() as rabbit:
        request.cls.node = rabbit
        request.cls.use(rabbit.url)
        yield


class TestAMQP(RPCTransportContract):
    transport = RPCAMQPTask
    cancels = False
    node: ClassVar[Rabbit]
    address: ClassVar[str]

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
