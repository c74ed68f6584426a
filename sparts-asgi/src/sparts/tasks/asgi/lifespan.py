"""The lifespan of an application: its startup before it is served, its shutdown after."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from sparts.errors import StartError, describe

if TYPE_CHECKING:
    import logging


class Lifespan:
    """The lifespan of one application; for the thread of its loop.

    An application that raises before it has asked for the first message does without a lifespan.

    Args:
        app: the ASGI application.
        logger: gets what the application raises at the stop.
    """

    def __init__(self, app: Any, logger: logging.Logger) -> None:
        self._app, self._logger = app, logger
        self._messages: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._asked = self._supported = False
        self._answer: asyncio.Future[str] | None = None
        self._running: asyncio.Task[None] | None = None
        self.state: dict[str, Any] = {}
        """What the application keeps for its requests: their ``scope["state"]`` is a copy."""

    async def start(self) -> None:
        """Have the application start.

        Raises:
            StartError: it failed; the message is the application's, the cause what it raised.
        """
        loop = asyncio.get_running_loop()
        self._running = loop.create_task(self._run(), name="lifespan")
        try:
            answer = await self._told("startup")
        except BaseException:
            await self._end()
            raise
        failed = self._error() is not None
        if answer == "startup.complete":
            self._supported = True
        elif answer or (self._asked and failed):
            await asyncio.wait([self._running], timeout=1.0)  # it may raise, too
            raise StartError(self._why(answer)) from self._error()

    async def stop(self, seconds: float | None) -> None:
        """Have the application stop, within some seconds; what it raises is logged."""
        if not self._supported:
            await self._end()
            return
        try:
            async with asyncio.timeout(seconds):
                answer = await self._told("shutdown")
                if answer == "shutdown.complete" and self._running is not None:
                    await asyncio.wait([self._running])
        except TimeoutError:
            self._logger.error("The application did not end its lifespan in time")
        else:
            error = self._error()
            if answer != "shutdown.complete":
                why = answer or ("it raised" if error else "its lifespan had ended before")
                self._logger.error("The application failed at its stop: %s", why, exc_info=error)
        await self._end()

    async def _told(self, what: str) -> str:
        """Send a message; return the answer, or what it was while the application ended."""
        self._answer = asyncio.get_running_loop().create_future()
        self._messages.put_nowait({"type": f"lifespan.{what}"})
        assert self._running is not None  # noqa: S101 - see `start`
        both: list[asyncio.Future[Any]] = [self._answer, self._running]
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        return self._answer.result() if self._answer.done() else ""

    async def _run(self) -> None:
        scope = {
            "type": "lifespan",
            "asgi": {"version": "3.0", "spec_version": "2.0"},
            "state": self.state,
        }
        await self._app(scope, self._receive, self._send)

    async def _receive(self) -> dict[str, Any]:
        self._asked = True
        return await self._messages.get()

    async def _send(self, message: dict[str, Any]) -> None:
        kind = message["type"].removeprefix("lifespan.")
        if self._answer is None or self._answer.done():
            raise RuntimeError(f"The application sent {message['type']!r} unasked.")
        text = message.get("message", "")
        self._answer.set_result(kind if kind.endswith(".complete") else text or kind)

    def _why(self, answer: str) -> str:
        lines = answer.strip().splitlines()
        error = self._error()
        text = describe(error) if error is not None else ""
        return f"The application failed to start: {text or (lines[-1] if lines else 'it ended')}"

    def _error(self) -> BaseException | None:
        if self._running is None or not self._running.done() or self._running.cancelled():
            return None
        return self._running.exception()

    async def _end(self) -> None:
        if self._running is not None and not self._running.done():
            self._running.cancel()
            await asyncio.wait([self._running], timeout=1.0)
