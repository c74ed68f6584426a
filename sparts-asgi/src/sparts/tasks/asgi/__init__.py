"""Any ASGI or WSGI application as a task of a service, on uvicorn."""

from sparts.tasks.asgi.task import AsgiTask
from sparts.tasks.asgi.wsgi import WsgiTask

__all__ = ["AsgiTask", "WsgiTask"]
