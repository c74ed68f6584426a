"""A WSGI application in a service."""

from collections.abc import Callable
from typing import Any

from sparts.tasks.asgi import WsgiTask
from sparts.vservice import VService


def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    """Say how long the service has been running."""
    service = environ["sparts.service"]
    body = f"{service.name} runs since {service.start_time}\n".encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]


class Web(WsgiTask):
    """Serves it."""

    APP = app


class UptimeService(VService):
    """Tells since when it runs."""

    TASKS = [Web]


if __name__ == "__main__":
    UptimeService.initFromCLI()
