"""Tornado, Twisted and asyncio in one service, each on a loop and in a thread of its own."""

import asyncio
import threading
from typing import Any

from sparts.tasks.asyncio import AsyncioLoopTask
from sparts.tasks.tornado import TornadoHTTPTask
from sparts.tasks.twisted import TwistedReactorTask
from sparts.vservice import VService
from tornado.web import RequestHandler
from twisted.internet import reactor
from twisted.internet.task import deferLater


def name_of_thread() -> str:
    return threading.current_thread().name


async def in_asyncio() -> str:
    await asyncio.sleep(0.01)
    return name_of_thread()


async def in_twisted() -> str:
    await deferLater(reactor, 0.01)
    return name_of_thread()


class Threads(RequestHandler):
    def initialize(self, service: VService) -> None:
        self.service = service

    async def get(self) -> None:
        # `call` is the way from any thread into a loop; it gives a future.
        twisted = self.service.requireTask(TwistedReactorTask).call(in_twisted)
        aio = self.service.requireTask(AsyncioLoopTask).call(in_asyncio)
        self.write(
            {
                "tornado": name_of_thread(),
                "twisted": await asyncio.wrap_future(twisted),
                "asyncio": await asyncio.wrap_future(aio),
            }
        )


class Web(TornadoHTTPTask):
    DEPS = [TwistedReactorTask, AsyncioLoopTask]

    def getApplicationConfig(self) -> list[Any]:  # noqa: N802
        return [("/", Threads, {"service": self.service})]


class ThreeLoops(VService):
    TASKS = [Web]
    DEFAULT_HOST = "127.0.0.1"


if __name__ == "__main__":
    ThreeLoops.initFromCLI()
