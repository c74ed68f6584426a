"""Tornado, Twisted and asyncio in one service, on one loop, in one thread."""

import asyncio
import threading
from typing import Any

from sparts.tasks.asyncio import AsyncioTask
from sparts.tasks.tornado import TornadoHTTPTask, TornadoIOLoopTask
from sparts.tasks.twisted import TwistedReactorTask, TwistedTask
from sparts.vservice import VService
from tornado.web import RequestHandler
from twisted.internet import reactor
from twisted.internet.task import LoopingCall, deferLater

# Every task notes in which thread it works. One thread writes and reads it, so it needs no lock.
threads: dict[str, str] = {}


def note(who: str) -> None:
    threads[who] = threading.current_thread().name


class Reactor(TwistedReactorTask):
    LOOP = TornadoIOLoopTask


class TwistedBeat(TwistedTask):
    LOOP = Reactor

    def start_in_loop(self) -> None:
        self.beat = LoopingCall(note, "twisted")
        self.beat.start(1.0)

    def stop_in_loop(self) -> None:
        self.beat.stop()


class AsyncioBeat(AsyncioTask):
    LOOP = TornadoIOLoopTask

    async def run(self) -> None:
        while True:
            note("asyncio")
            await asyncio.sleep(1.0)


class Threads(RequestHandler):
    async def get(self) -> None:
        note("tornado")
        # A coroutine of asyncio's awaits a deferred of Twisted's.
        await deferLater(reactor, 0.01).asFuture(asyncio.get_running_loop())
        self.write(threads)


class Web(TornadoHTTPTask):
    def getApplicationConfig(self) -> list[Any]:  # noqa: N802
        return [("/", Threads)]


class OneLoop(VService):
    TASKS = [Web, TwistedBeat, AsyncioBeat]
    DEFAULT_HOST = "127.0.0.1"


if __name__ == "__main__":
    OneLoop.initFromCLI()
