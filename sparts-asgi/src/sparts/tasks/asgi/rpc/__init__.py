"""RPC over HTTP: methods of `sparts.rpc.RPCTask` as JSON, JSON-RPC and OpenAPI, and the client.

`RPCHTTPTask` serves them; `RPCApplication` is the same as an ASGI application, for FastAPI or
Starlette to mount.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sparts.tasks.asgi.rpc.application import RPCApplication
    from sparts.tasks.asgi.rpc.client import HTTPClient
    from sparts.tasks.asgi.rpc.task import RPCHTTPTask

__all__ = ["HTTPClient", "RPCApplication", "RPCHTTPTask"]
_MODULES = {"HTTPClient": "client", "RPCApplication": "application", "RPCHTTPTask": "task"}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
