"""An application of FastAPI, which looks for its annotations in its module."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request, WebSocket
from fastapi.responses import StreamingResponse


def fastapi_app() -> FastAPI:
    """Make one of FastAPI."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, str]]:
        yield {"greeting": "hello"}

    app = FastAPI(lifespan=lifespan)

    @app.get("/hello/{name}")
    async def hello(name: str, request: Request) -> dict[str, str]:
        return {"text": f"{request.state.greeting} {name}"}

    @app.get("/double/{number}")
    async def double(number: int, request: Request) -> int:
        jobs = request.scope["sparts.service"].requireTask("Doubling")
        found: int = await asyncio.wrap_future(jobs.submit(number))
        return found

    @app.post("/upload")
    async def upload(request: Request) -> int:
        return len(await request.body())

    @app.get("/stream")
    async def stream() -> StreamingResponse:
        async def parts() -> AsyncIterator[str]:
            for number in range(3):
                yield f"{number}\n"

        return StreamingResponse(parts())

    @app.websocket("/ws")
    async def websocket(socket: WebSocket) -> None:
        await socket.accept()
        while True:
            await socket.send_text((await socket.receive_text()).upper())

    return app
