"""The transport local: keeps the contract of RPC transports."""

from __future__ import annotations

from sparts.testing.rpc import RPCTransportContract
from sparts.vservice import VService


class TestLocal(RPCTransportContract):
    def url(self, service: VService) -> str:
        return f"local:{service.name}"
