"""Any ASGI or WSGI application as a task of a service, on uvicorn.

Nothing is imported before it is used, so that a client of `sparts.tasks.asgi.rpc` loads no server.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sparts.tasks.asgi.task import AsgiTask
    from sparts.tasks.asgi.wsgi import WsgiTask

__all__ = ["AsgiTask", "WsgiTask"]


def __getattr__(name: str) -> Any:
    if name == "AsgiTask":
        from sparts.tasks.asgi.task import AsgiTask

        return AsgiTask
    if name == "WsgiTask":
        from sparts.tasks.asgi.wsgi import WsgiTask

        return WsgiTask
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
