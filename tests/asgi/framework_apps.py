"""Applications of real frameworks, for the tests that serve them; FastAPI's is beside it."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

from sparts.tasks.queue import QueueTask


class Doubling(QueueTask):
    """What a handler reaches through the service."""

    def execute(self, item: int, context: Any) -> int:
        """Double a number."""
        return 2 * item


def starlette_app(fails: bool = False) -> Any:
    """Make one of Starlette, whose start fails if that is asked for."""
    from starlette.applications import Starlette
    from starlette.responses import PlainTextResponse
    from starlette.routing import Mount, Route

    @asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[None]:
        if fails:
            raise RuntimeError("no database here")
        yield

    async def home(request: Any) -> PlainTextResponse:
        return PlainTextResponse(f"home of {request.scope['sparts.service'].name}")

    routes = [Route("/", home), Mount("/below", routes=[Route("/", home)])]
    return Starlette(routes=routes, lifespan=lifespan)


def django(asgi: bool) -> Any:
    """Make the one of Django that a process can have."""
    from django.conf import settings  # type: ignore[import-untyped]

    if not settings.configured:
        settings.configure(
            ROOT_URLCONF="tests.asgi.framework_apps",
            ALLOWED_HOSTS=["*"],
            SECRET_KEY="a test's",  # noqa: S106
        )
        import django as framework  # type: ignore[import-untyped]

        framework.setup()
    from django.core.asgi import get_asgi_application  # type: ignore[import-untyped]
    from django.core.wsgi import get_wsgi_application  # type: ignore[import-untyped]

    return get_asgi_application() if asgi else get_wsgi_application()


def _django_home(request: Any) -> Any:
    from django.http import HttpResponse  # type: ignore[import-untyped]

    return HttpResponse(f"{request.method} {len(request.body)}")


def _django_stream(request: Any) -> Any:
    from django.http import StreamingHttpResponse

    async def parts() -> AsyncIterator[str]:
        for number in range(3):
            yield f"{number}\n"

    if hasattr(request, "scope"):  # ASGI
        return StreamingHttpResponse(parts())
    return StreamingHttpResponse(f"{number}\n" for number in range(3))


def __getattr__(name: str) -> Any:
    if name == "urlpatterns":  # Django's
        from django.urls import path  # type: ignore[import-untyped]

        return [path("", _django_home), path("stream", _django_stream)]
    raise AttributeError(name)


def flask_app() -> Any:
    """Make one of Flask."""
    from flask import Flask, Response, request

    app = Flask("tests", root_path=os.path.dirname(__file__))

    @app.get("/hello/<name>")
    def hello(name: str) -> str:
        return f"hello {name}"

    @app.get("/double/<int:number>")
    def double(number: int) -> str:
        jobs = request.environ["sparts.service"].requireTask("Doubling")
        return str(jobs.submit(number).result())

    @app.post("/upload")
    def upload() -> str:
        return str(len(request.get_data()))

    @app.get("/stream")
    def stream() -> Response:
        return Response(f"{number}\n" for number in range(3))

    @app.get("/endless")
    def endless() -> Response:
        def parts() -> Iterator[bytes]:
            try:
                while True:
                    yield bytes(65536)
            finally:
                app.config["CLOSED"].set()

        return Response(parts())

    @app.get("/broken")
    def broken() -> str:
        raise RuntimeError("broken on purpose")

    @app.get("/who")
    def who() -> str:
        return f"{request.remote_addr} {request.scheme} {request.script_root}"

    return app
