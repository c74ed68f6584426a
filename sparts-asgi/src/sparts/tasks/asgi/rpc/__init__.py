"""RPC over HTTP: methods of `sparts.rpc.RPCTask` as JSON, JSON-RPC and OpenAPI, and the client.

`RPCHTTPTask` serves them; `RPCApplication` is the same as an ASGI application, for FastAPI or
Starlette to mount.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sparts.startup import imported_later

if TYPE_CHECKING:
    from sparts.tasks.asgi.rpc.application import RPCApplication
    from sparts.tasks.asgi.rpc.client import HTTPClient
    from sparts.tasks.asgi.rpc.task import RPCHTTPTask
else:
    _homes = {
        "sparts.tasks.asgi.rpc.application": ("RPCApplication",),
        "sparts.tasks.asgi.rpc.client": ("HTTPClient",),
        "sparts.tasks.asgi.rpc.task": ("RPCHTTPTask",),
    }
    __getattr__ = imported_later(__name__, _homes)

__all__ = ["HTTPClient", "RPCApplication", "RPCHTTPTask"]
