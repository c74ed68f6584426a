"""RPC over gRPC: `RPCGrpcTask` serves, `GrpcClient` is what ``grpc:`` URLs are called with."""

from sparts.tasks.grpc.rpc.client import GrpcClient
from sparts.tasks.grpc.rpc.task import RPCGrpcTask

__all__ = ["GrpcClient", "RPCGrpcTask"]
