"""AsyncioLoopTask keeps the contract of loop tasks, with asyncio's loop and with uvloop's."""

from __future__ import annotations

import asyncio
import os
import re
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from functools import partial

import pytest
import uvloop
from sparts.errors import UsageError
from sparts.tasks import asyncio_loop
from sparts.tasks.asyncio import AsyncioLoopTask
from sparts.tasks.asyncio_loop import LoopWatch
from sparts.testing.loops import WAIT, AsyncioLoopContract, errors_of, switches_of
from sparts.testing.running import make_service, running_task, service_of
from sparts.vtask import RestartPolicy

from tests.core.queue_tasks import variant

SOON = RestartPolicy("on-failure", first_wait=0.001)
IDLE = 0.1
"""Seconds after which the watch of a loop that is quick to warn sleeps, most probably."""


class TestAsyncioLoop(AsyncioLoopContract):
    loop_task = AsyncioLoopTask


class TestUvloop(AsyncioLoopContract):
    loop_task = AsyncioLoopTask
    argv = ("--asyncio-uvloop",)


class TestUnwatchedLoop(AsyncioLoopContract):
    loop_task = AsyncioLoopTask
    argv = ("--asyncio-slow-callback", "0")
    cycles = 2


Service = service_of(AsyncioLoopTask)
loop_of = partial(running_task, AsyncioLoopTask)


@pytest.fixture(params=["asyncio", "uvloop"])
def quick_to_warn(request: pytest.FixtureRequest) -> tuple[str, ...]:
    """The command line of a loop that is watched closely."""
    more = ("--asyncio-uvloop",) if request.param == "uvloop" else ()
    return ("--asyncio-slow-callback", "20ms", *more)


def test_the_uvloop_option_runs_uvloop() -> None:
    for argv in (("--asyncio-uvloop",), ()):
        with loop_of(*argv) as task:
            assert isinstance(task.loop, uvloop.Loop) is bool(argv)


def test_the_uvloop_option_without_uvloop_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    service = make_service(Service, "--asyncio-uvloop", "--dryrun")
    assert Service.initFromOptions(service.options) == 0
    monkeypatch.setitem(sys.modules, "uvloop", None)
    needed = r"--asyncio-uvloop needs .*'sparts-core\[uvloop\]'"
    with pytest.raises(UsageError, match=needed):
        Service.initFromOptions(service.options)
    with pytest.raises(UsageError, match=needed):
        make_service(Service, "--asyncio-uvloop").startBG()
    own = type("Own", (AsyncioLoopTask,), {"OPT_PREFIX": "my_loop"})
    with pytest.raises(UsageError, match="--my-loop-uvloop needs"):
        make_service(service_of(own), "--my-loop-uvloop").startBG()


# -- a blocked loop --------------------------------------------------------------------------------


def by_a_call(task: AsyncioLoopTask, block: Callable[[], None]) -> None:
    task.call(block)


def by_a_coroutine(task: AsyncioLoopTask, block: Callable[[], None]) -> None:
    async def work() -> None:
        await asyncio.sleep(0.001)
        block()

    task.call(work)


def by_a_timer(task: AsyncioLoopTask, block: Callable[[], None]) -> None:
    task.call(lambda: task.loop.call_later(IDLE, block))


def by_a_reader(task: AsyncioLoopTask, block: Callable[[], None]) -> None:
    read, write = os.pipe()

    def readable() -> None:
        task.loop.remove_reader(read)
        block()
        os.close(read)
        os.close(write)

    task.call(task.loop.add_reader, read, readable)
    threading.Event().wait(IDLE)
    os.write(write, b"x")


@pytest.mark.parametrize("way", [by_a_call, by_a_coroutine, by_a_timer, by_a_reader])
def test_blocked_loop_is_warned_about_with_its_stack(
    way: Callable[[AsyncioLoopTask, Callable[[], None]], None], quick_to_warn: tuple[str, ...]
) -> None:
    release, ended = threading.Event(), threading.Event()

    def hold_the_loop() -> None:
        release.wait(WAIT)
        ended.set()

    with loop_of(*quick_to_warn) as task, errors_of(task.logger) as warnings:
        for number in (1, 2):
            way(task, hold_the_loop)
            while "in hold_the_loop" not in (record := warnings.get(timeout=WAIT)).getMessage():
                pass  # a machine under load may have kept the loop from its work before that, too
            release.set()
            assert ended.wait(WAIT)
            assert record.levelname == "WARNING"
            assert re.match(
                r"The event loop has been blocked for [0-9.]+ s by", record.getMessage()
            )
            assert task.n_slow_callbacks() >= number
            release.clear()
            ended.clear()
        assert task.call(int, "1").result(WAIT) == 1


def test_longer_block_is_reported_again(quick_to_warn: tuple[str, ...]) -> None:
    release = threading.Event()
    with loop_of(*quick_to_warn) as task, errors_of(task.logger) as warnings:
        task.call(release.wait, WAIT)
        lengths = [warnings.get(timeout=WAIT).args for _ in range(3)]
        release.set()
    first, second, third = (float(str(args[0])) for args in lengths if isinstance(args, tuple))
    assert 4 * first <= 2 * second <= third


def test_busy_loop_is_not_warned_about() -> None:
    reports: list[float] = []
    watch = LoopWatch(1.0, reports.append)
    wait = watch.around(lambda timeout: None)
    watch.start("watch")
    for _ in range(12):  # together longer than the threshold
        wait(0)
        threading.Event().wait(0.1)
    watch.stop()
    assert not reports


def watches() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if "watch" in thread.name]


def test_busy_loop_does_not_always_wake_its_watch() -> None:
    async def turn_often() -> None:
        for number in range(20_000):
            await asyncio.sleep(0.001 if number < 500 else 0)

    with loop_of() as task:
        [watch] = watches()
        before = switches_of(watch)
        task.call(turn_often).result(WAIT)
        assert switches_of(watch) - before < 300
    with loop_of("--asyncio-slow-callback", "0"):
        assert not watches()


# -- asyncio's own errors --------------------------------------------------------------------------


def test_cancelled_calls_are_no_callback_errors() -> None:
    def raise_it() -> None:
        raise asyncio.CancelledError

    async def cancel_itself() -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(0)

    with loop_of() as task:
        for call in (raise_it, cancel_itself):
            future = task.call(call)
            with pytest.raises(CancelledError):
                future.result(WAIT)
            assert future.cancelled()
        assert task.n_callback_errors() == 0
        with errors_of(task.logger) as errors:
            task.call(task.loop.call_soon, int, "one").result(WAIT)
            assert "callback int(" in errors.get(timeout=WAIT).getMessage()
        assert task.n_callback_errors() == 1


def test_an_awaitable_of_another_loop_fails_its_call() -> None:
    other = asyncio.new_event_loop()
    alien = other.create_future()
    with loop_of() as task:

        async def wait() -> None:
            await alien

        assert isinstance(task.call(wait).exception(WAIT), RuntimeError)
        assert isinstance(task.call(lambda: alien).exception(WAIT), ValueError | RuntimeError)
    other.close()


# -- the end ---------------------------------------------------------------------------------------


def test_coroutines_generators_and_executor_end_with_loop() -> None:
    seen: list[str] = []
    left: list[object] = []

    async def hang() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0.001)
            seen.append("cancelled")

    async def numbers() -> Iterator[int]:  # type: ignore[misc]
        try:
            while True:
                yield 1
        finally:
            seen.append("closed")
            closed.set()

    kept, closed = numbers(), threading.Event()

    def outlive() -> None:
        closed.wait(WAIT)
        threading.Event().wait(0.02)  # so that a loop which does not wait for it is found out
        seen.append("thread")

    async def work() -> None:
        left.append(asyncio.create_task(hang()))
        await anext(kept)  # type: ignore[call-overload]
        asyncio.get_running_loop().run_in_executor(None, outlive)

    with loop_of() as task:
        task.call(work).result(WAIT)
    assert seen == ["cancelled", "closed", "thread"]
    assert not [thread for thread in threading.enumerate() if "asyncio_" in thread.name]


def test_coroutine_that_ignores_failure_delays_no_restart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asyncio_loop, "CRASH_GRACE", 0.01)
    ignored = threading.Event()

    async def ignore() -> None:
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                ignored.set()

    with running_task(variant(AsyncioLoopTask, RESTART=SOON)) as task:
        task.call(ignore)
        task.call(task.loop.stop)
        assert ignored.wait(WAIT)
        assert task.call(int, "1").result(WAIT) == 1
        assert task.supervisor.n_restarts() == 1


def test_loop_that_is_stopped_during_its_restart_ends() -> None:
    told = threading.Event()

    class Slow(AsyncioLoopTask):
        RESTART = SOON

        def new_loop(self) -> asyncio.AbstractEventLoop:
            if self.supervisor.n_restarts():
                self.service.shutdown()
                assert self.stop_event.wait(WAIT)
                told.wait(WAIT)
            return super().new_loop()

        def stop(self) -> None:
            super().stop()
            told.set()

    with running_task(Slow, "--stop-timeout", "10s") as task:
        task.call(task.loop.stop)
        assert task.stop_event.wait(WAIT)
    assert task.supervisor.n_restarts() == 1


def test_stacks_of_loop_show_its_coroutines() -> None:
    began = threading.Event()

    async def innermost() -> None:
        began.set()
        await asyncio.Event().wait()

    async def outermost() -> None:
        await innermost()

    with loop_of() as task:
        task.call(outermost)
        assert began.wait(WAIT)
        stacks = task._format_stacks()
    assert "in outermost" in stacks
    assert "in innermost" in stacks
    assert stacks.index("in outermost") < stacks.index("in innermost")
