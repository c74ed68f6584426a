"""gRPC keeps the contract of RPC transports."""

from __future__ import annotations

from sparts.tasks.grpc.rpc import RPCGrpcTask
from sparts.testing.leftovers import allow
from sparts.testing.rpc import RPCTransportContract
from sparts.vservice import VService

# grpcio's: it ends when the collector finds the last object of grpc.aio, such as that of an error.
allow(thread=r"Thread-\d+ \(_poll_wrapper\)")


class TestGrpc(RPCTransportContract):
    transport = RPCGrpcTask
    argv = ("--rpc-grpc-host", "127.0.0.1", "--rpc-grpc-port", "0")

    def url(self, service: VService) -> str:
        return f"grpc://127.0.0.1:{service.requireTask(RPCGrpcTask).bound_addrs[0][1]}"
