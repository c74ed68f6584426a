"""One transport served in several ways: `python -m bench.calls.ways KIND FOLDER WAY...`.

KIND is `thrift`, `http` (on Tornado) or `asgi`. FOLDER holds what the thrift compiler made of
echo.thrift. One process serves all of them. It writes one line, the ports by the names of the ways,
and serves until it is killed. Each way is a service of its own, idle while another is asked.
"""

from __future__ import annotations

import importlib
import json
import sys
import time
from typing import Any

from sparts.hookspecs import hookimpl
from sparts.testing.running import make_service
from sparts.vservice import VService
from sparts.vtask import VTask

WAYS = ("unasked", "plain", "wrapped")
FLOOR = "between"
"""The way that shows what one object and one Python function more cost, without any wrapper."""


class Known:
    """What knows of a call what never changes."""


def give_back(call: Known, value: Any) -> Any:
    """Give it back."""
    return value


class Nothing:
    """Wraps every call, and does nothing."""

    @hookimpl
    def sparts_call_wrap(self, task: Any) -> Any:
        """Give the wrapper."""
        return lambda call, proceed: proceed()


def service_of(way: str, served: type[VTask], *others: type[VTask]) -> type[VService]:
    """Make a service whose calls no plugin is asked for, or that are plain or wrapped."""

    class Service(VService):
        TASKS = [
            type("Served", (served,), {"CALL_KIND": ""}) if way == "unasked" else served,
            *others,
        ]

        def initService(self) -> None:  # noqa: N802
            """Wrap calls if that is wanted."""
            if way == "wrapped":
                self.hooks.register(Nothing())

    return Service


def serve(way: str, kind: str, folder: str) -> int:
    """Start a service and give its port."""
    if kind == "thrift":
        from sparts.tasks.thrift import NBServerTask, ThriftHandlerTask

        sys.path.insert(0, folder)

        class Echo(ThriftHandlerTask):
            """Gives back what it gets."""

            MODULE = importlib.import_module("echo.Echo")
            INLINE = True

            def small(self, text: Any) -> Any:
                """Give it back."""
                return text

            def large(self, blob: Any) -> Any:
                """Give it back."""
                return blob

        class Between(Echo):
            """Does it by a function that is given an object, too."""

            def small(self, text: Any) -> Any:
                """Give it back."""
                return give_back(Known(), text)

        served = Between if way == FLOOR else Echo
        return start(service_of(way, served, NBServerTask), NBServerTask, "thrift")
    if kind == "asgi":
        from sparts.tasks.asgi import AsgiTask

        from bench.asgi.hello import app

        def between(scope: Any, receive: Any, send: Any) -> Any:
            """Have an object made before it is answered."""
            Known()
            return app(scope, receive, send)

        class Hello(AsgiTask):
            """Says hello."""

            APP = between if way == FLOOR else app

        return start(service_of(way, Hello), AsgiTask, "asgi")
    from sparts.tasks.tornado import TornadoHTTPTask
    from tornado.web import RequestHandler

    class Page(RequestHandler):
        """Says hello."""

        def get(self) -> None:
            """Say it."""
            self.write("Hello, world")

    class PageBetween(RequestHandler):
        """Says it by a function that is given an object, too."""

        def get(self) -> None:
            """Say it."""
            self.write(give_back(Known(), "Hello, world"))

    class Pages(TornadoHTTPTask):
        """Serves one of them."""

        def getApplicationConfig(self) -> list[Any]:  # noqa: N802
            """Give the routes."""
            return [("/", PageBetween if way == FLOOR else Page)]

    return start(service_of(way, Pages), TornadoHTTPTask, "http")


def start(service_class: type[VService], server: type[VTask], prefix: str) -> int:
    """Run a service in the background and give the port of its server."""
    options = (f"--{prefix}-host", "127.0.0.1", f"--{prefix}-port", "0", "--level", "ERROR")
    service = make_service(service_class, *options)
    service.startBG()
    service.health.wait_ready(60)
    task: Any = service.requireTask(server)
    port: int = task.bound_addrs[0][1]
    return port


if __name__ == "__main__":
    print(json.dumps({way: serve(way, *sys.argv[1:3]) for way in sys.argv[3:]}), flush=True)
    while True:
        time.sleep(3600)
