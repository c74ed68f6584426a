"""TwistedReactorTask keeps the contract of loop tasks, with every reactor."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

from sparts.loops import LoopTask
from sparts.tasks.asyncio import AsyncioLoopTask
from sparts.tasks.tornado import TornadoIOLoopTask
from sparts.tasks.twisted import TwistedReactorTask
from sparts.testing.loops import LoopContract
from twisted.internet.defer import Deferred


class TestTwistedReactor(LoopContract):
    loop_task = TwistedReactorTask

    def never(self) -> Awaitable[Any]:
        return Deferred()

    def crash(self, task: Any) -> None:
        task.reactor.crash()


class TestPollReactor(TestTwistedReactor):
    argv = ("--twisted-reactor", "poll")


class TestSelectReactor(TestTwistedReactor):
    argv = ("--twisted-reactor", "select")


class TestAsyncioReactor(TestTwistedReactor):
    argv = ("--twisted-reactor", "asyncio")


class Shared(TwistedReactorTask):
    LOOP = AsyncioLoopTask


class TestReactorOnTheLoopOfAsyncioLoopTask(TestTwistedReactor):
    loop_task = Shared

    def ident_of(self, task: LoopTask) -> int | None:
        found: LoopTask = task.service.requireTask(AsyncioLoopTask)
        return found.threads[0].ident


class OnTornado(TwistedReactorTask):
    LOOP = TornadoIOLoopTask


class TestReactorOnTornadosLoopWhichIsUvloops(TestTwistedReactor):
    loop_task = OnTornado
    argv = ("--ioloop-uvloop",)

    def ident_of(self, task: LoopTask) -> int | None:
        found: LoopTask = task.service.requireTask(TornadoIOLoopTask)
        return found.threads[0].ident
