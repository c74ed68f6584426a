"""ASGI applications for tests, without a framework."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import Any


async def answer(send: Any, status: int, body: bytes, *headers: tuple[bytes, bytes]) -> None:
    """Send a whole response."""
    length = (b"content-length", b"%d" % len(body))
    await send({"type": "http.response.start", "status": status, "headers": [length, *headers]})
    await send({"type": "http.response.body", "body": body})


async def read_body(receive: Any) -> bytes:
    """Read a body to its end, or to the client's."""
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return body


class Switchboard:
    """What a test can see of an application, and let go on."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.begun = asyncio.Event()
        self.go_on = asyncio.Event()
        self.disconnected = asyncio.Event()
        self.after = asyncio.Event()
        self.left = threading.Event()


def application(board: Switchboard) -> Any:
    """Return an application whose paths say what it does."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await lifespan(receive, send)
        elif scope["type"] == "websocket":
            await websocket(scope, receive, send)
        else:
            await paths[scope["path"].rpartition("/")[2]](scope, receive, send)

    async def lifespan(receive: Any, send: Any) -> None:
        board.told.append((await receive())["type"])
        await send({"type": "lifespan.startup.complete"})
        board.told.append((await receive())["type"])
        await send({"type": "lifespan.shutdown.complete"})

    async def hello(scope: Any, receive: Any, send: Any) -> None:
        await answer(send, 200, b"hello")

    async def echo(scope: Any, receive: Any, send: Any) -> None:
        await answer(send, 200, await read_body(receive))

    async def scoped(scope: Any, receive: Any, send: Any) -> None:
        known = {name: scope[name] for name in ("scheme", "path", "root_path", "client", "server")}
        known["service"] = scope["sparts.service"].name
        await answer(send, 200, repr(known).encode())

    async def headers(scope: Any, receive: Any, send: Any) -> None:
        await read_body(receive)
        await answer(send, 200, repr(scope["headers"]).encode())

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        board.begun.set()
        await board.go_on.wait()
        await answer(send, 200, b"slow")

    async def streamed(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for number in range(3):
            body = b"part %d\n" % number
            await send({"type": "http.response.body", "body": body, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    async def head_first(scope: Any, receive: Any, send: Any) -> None:
        """Send the head before it reads the body: with its length, or without if asked by query."""
        headers = [] if scope["query_string"] else [(b"content-length", b"5")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        body = await read_body(receive)
        await send({"type": "http.response.body", "body": body})

    async def head_left(scope: Any, receive: Any, send: Any) -> None:
        headers = [(b"content-length", b"5")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        board.begun.set()
        await board.go_on.wait()
        assert (await receive())["type"] == "http.disconnect"
        board.disconnected.set()
        await send({"type": "http.response.body", "body": b"hello"})

    async def twice(scope: Any, receive: Any, send: Any) -> None:
        start = {"type": "http.response.start", "status": 200}
        await send({**start, "headers": [(b"content-length", b"4")]})
        with contextlib.suppress(RuntimeError):
            await send(start)
        await send({"type": "http.response.body", "body": b"on", "more_body": True})
        await send({"type": "http.response.body", "body": b"ce"})

    async def endless(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"begun\n", "more_body": True})
        await scope["sparts.service"].requireTask("AsgiTask").ending.wait()
        await send({"type": "http.response.body", "body": b"ended\n"})

    async def waits_for_disconnect(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        board.begun.set()
        assert (await receive())["type"] == "http.disconnect"
        board.disconnected.set()

    async def background(scope: Any, receive: Any, send: Any) -> None:
        await answer(send, 200, b"later")
        board.begun.set()
        await board.go_on.wait()
        board.after.set()

    async def broken_after(scope: Any, receive: Any, send: Any) -> None:
        await answer(send, 200, b"well")
        await board.go_on.wait()
        board.after.set()
        raise RuntimeError("broken on purpose")

    async def broken(scope: Any, receive: Any, send: Any) -> None:
        raise RuntimeError("broken on purpose")

    async def leaves(scope: Any, receive: Any, send: Any) -> None:
        raise SystemExit(3)

    async def broken_late(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"some", "more_body": True})
        raise RuntimeError("broken on purpose")

    async def large(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(1000):
            body = bytes(65536)
            await send({"type": "http.response.body", "body": body, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    async def unread(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"some", "more_body": True})
        board.left.wait(10)  # blocks the loop, so that it does not see that the client has left
        for _ in range(100):
            await send({"type": "http.response.body", "body": b"more", "more_body": True})

    async def missing(scope: Any, receive: Any, send: Any) -> None:
        await answer(send, 404, b"missing")

    async def websocket(scope: Any, receive: Any, send: Any) -> None:
        assert (await receive())["type"] == "websocket.connect"
        if scope["path"] == "/refused":
            await send({"type": "websocket.close"})
            return
        if scope["path"] == "/denied":
            await send({"type": "websocket.http.response.start", "status": 401, "headers": []})
            await send({"type": "websocket.http.response.body", "body": b"", "more_body": True})
            await send({"type": "websocket.http.response.body", "body": b"denied"})
            return
        if scope["path"] == "/broken":
            raise RuntimeError("broken on purpose")
        if scope["path"] == "/exit":
            raise SystemExit(3)
        offered = scope["subprotocols"]
        await send({"type": "websocket.accept", "subprotocol": offered[0] if offered else None})
        board.begun.set()
        while True:
            message = await receive()
            if message["type"] == "websocket.disconnect":
                board.told.append(f"websocket.disconnect {message['code']}")
                board.disconnected.set()
                return
            if message.get("text") == "close":
                await send({"type": "websocket.close", "code": 4001, "reason": "asked"})
                continue
            if message.get("text") == "bad close":
                await send({"type": "websocket.close", "code": 1006})
            if message.get("text") == "return":
                return
            if message.get("text") == "broken":
                raise RuntimeError("broken on purpose")
            await send({**message, "type": "websocket.send"})

    paths: dict[str, Any] = {
        "": hello, "echo": echo, "mirror": echo, "upload": echo, "scope": scoped, "slow": slow,
        "streamed": streamed,
        "endless": endless, "disconnect": waits_for_disconnect, "background": background,
        "broken": broken, "exit": leaves, "broken-late": broken_late, "large": large,
        "missing": missing, "unread": unread, "head-first": head_first, "twice": twice,
        "broken-after": broken_after, "headers": headers,
        "head-left": head_left,
    }  # fmt: skip
    return app


def task_of(base: Any, **attributes: Any) -> Any:
    """Return a task type of an application of its own, whose switchboard is ``task.board``."""

    def app(self: Any) -> Any:
        self.board = Switchboard()
        return application(self.board)

    doc = "Serves the application of tests."
    return type(base.__name__, (base,), {"app": app, "__doc__": doc, **attributes})
