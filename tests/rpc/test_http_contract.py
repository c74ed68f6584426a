"""HTTP keeps the contract of RPC transports."""

from __future__ import annotations

from sparts.tasks.asgi.rpc import RPCHTTPTask
from sparts.testing.rpc import RPCTransportContract
from sparts.vservice import VService


class TestHTTP(RPCTransportContract):
    transport = RPCHTTPTask
    argv = ("--rpc-http-host", "127.0.0.1", "--rpc-http-port", "0")

    def url(self, service: VService) -> str:
        return f"http://127.0.0.1:{service.requireTask(RPCHTTPTask).bound_addrs[0][1]}"
