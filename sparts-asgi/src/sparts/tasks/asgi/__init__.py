"""Any ASGI or WSGI application as a task of a service, on uvicorn.

Nothing is imported before it is used, so that a client of `sparts.tasks.asgi.rpc` loads no server.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sparts.startup import imported_later

if TYPE_CHECKING:
    from sparts.tasks.asgi.task import AsgiTask
    from sparts.tasks.asgi.wsgi import WsgiTask
else:
    _homes = {"sparts.tasks.asgi.task": ("AsgiTask",), "sparts.tasks.asgi.wsgi": ("WsgiTask",)}
    __getattr__ = imported_later(__name__, _homes)

__all__ = ["AsgiTask", "WsgiTask"]
