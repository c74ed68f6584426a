"""TornadoIOLoopTask keeps the contract of loop tasks, on asyncio's loop and on uvloop's."""

from __future__ import annotations

import threading

import pytest
import uvloop
from sparts.tasks.tornado import TornadoIOLoopTask, TornadoTask
from sparts.testing.loops import WAIT, AsyncioLoopContract
from sparts.testing.running import running, service_of
from tornado.ioloop import IOLoop


class TestTornadoIOLoop(AsyncioLoopContract):
    loop_task = TornadoIOLoopTask


class TestTornadoIOLoopOnUvloop(AsyncioLoopContract):
    loop_task = TornadoIOLoopTask
    argv = ("--ioloop-uvloop",)


class Ticker(TornadoTask):
    """Uses what Tornado's own code uses: the loop that is current."""

    def initTask(self) -> None:  # noqa: N802
        super().initTask()
        self.known = self.ioloop
        self.ticked = threading.Event()

    def start_in_loop(self) -> None:
        assert IOLoop.current() is self.known
        IOLoop.current().call_later(0.001, self.ticked.set)


Service = service_of(Ticker)


@pytest.mark.parametrize("argv", [(), ("--ioloop-uvloop",)], ids=["asyncio", "uvloop"])
def test_tornado_task_finds_its_loop(argv: tuple[str, ...]) -> None:
    with running(Service, *argv) as service:
        loop = service.requireTask(TornadoIOLoopTask).loop
        assert isinstance(loop, uvloop.Loop) is bool(argv)
        assert service.requireTask(Ticker).ticked.wait(WAIT)


def test_tornado_forgets_a_loop_that_has_ended() -> None:
    with running(Service) as service:
        loop = service.requireTask(TornadoIOLoopTask).loop
        assert loop in IOLoop._ioloop_for_asyncio
    assert loop not in IOLoop._ioloop_for_asyncio
