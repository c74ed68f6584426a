"""Tornado: HTTP servers, and other code of Tornado's, as tasks of a service."""

from sparts.tasks.tornado.application import StaticFiles, request_id
from sparts.tasks.tornado.http import HelloWorldHandler, TornadoHTTPTask
from sparts.tasks.tornado.ioloop import TornadoIOLoopTask, TornadoTask

__all__ = [
    "HelloWorldHandler",
    "StaticFiles",
    "TornadoHTTPTask",
    "TornadoIOLoopTask",
    "TornadoTask",
    "request_id",
]
