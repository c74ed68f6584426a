"""thrift keeps the contract of RPC transports."""

from __future__ import annotations

from sparts.tasks.thrift.rpc import RPCThriftTask
from sparts.testing.rpc import RPCTransportContract
from sparts.vservice import VService


class TestThrift(RPCTransportContract):
    transport = RPCThriftTask
    cancels = False
    argv = ("--rpc-thrift-host", "127.0.0.1", "--rpc-thrift-port", "0")

    def url(self, service: VService) -> str:
        return f"thrift://127.0.0.1:{service.requireTask(RPCThriftTask).bound_port}"
