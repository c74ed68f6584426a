"""gRPC: servers and clients.

`task` has GrpcTask; below it: `server` (accepts and drains), `connection` (HTTP/2), `calls` and
`serving` (one call and its handler), `context` (what the handler learns), `methods` (what generated
code registers), `wire` (the form of messages), `threads`, `health`, `reflection`. `client` has
GrpcClientTask.
"""

from sparts.tasks.grpc.client import GrpcClientTask as GrpcClientTask
from sparts.tasks.grpc.task import GrpcTask as GrpcTask
