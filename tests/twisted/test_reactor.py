"""TwistedReactorTask beyond the contract: what can be awaited, errors, its log, its threads."""

from __future__ import annotations

import asyncio
import concurrent.futures
import gc
import logging
import threading
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from sparts.errors import LoopStoppedError, UsageError
from sparts.tasks.asyncio import AsyncioLoopTask
from sparts.tasks.queue import ExecuteContext, QueueTask
from sparts.tasks.twisted import TwistedReactorTask, TwistedTask
from sparts.testing.loops import WAIT, errors_of
from sparts.testing.running import make_service, running, service_of
from sparts.testing.waiting import no_further_threads
from sparts.vtask import RestartPolicy
from twisted.internet import reactor as global_reactor
from twisted.internet import threads, utils
from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.internet.task import deferLater
from twisted.logger import Logger, globalLogBeginner, globalLogPublisher
from twisted.python import log as old_log

reactor: Any = global_reactor
KINDS = ("epoll", "poll", "select", "asyncio")


class Shared(TwistedReactorTask):
    LOOP = AsyncioLoopTask


class Slow(Shared):
    """Its own thread goes on only when the service stops, long after the reactor has opened."""

    def _shared(self) -> Any:
        loop_task = super()._shared()

        def call(function: Any) -> Any:
            future = loop_task.call(function)
            assert self.stop_event.wait(WAIT)
            return future

        return SimpleNamespace(loop=loop_task.loop, call=call)


@contextmanager
def reactor_of(kind: str = "epoll", *tasks: Any) -> Iterator[Any]:
    """Run a service of a reactor task, and give that."""
    task = {"shared": Shared, "slow": Slow}.get(kind, TwistedReactorTask)
    argv = ("--twisted-reactor", kind) if kind in KINDS else ()
    with running(service_of(task, *tasks), *argv) as service:
        yield service.requireTask(task)


class Double(QueueTask):
    def execute(self, item: int, context: ExecuteContext) -> int:
        if item < 0:
            raise ValueError("negative")
        return 2 * item


# -- awaiting --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [*KINDS, "shared"])
def test_call_may_return_or_await_deferreds(kind: str) -> None:
    async def work(queue: QueueTask) -> list[Any]:
        found = [await deferLater(reactor, 0.001, int, "1")]
        found.append(await succeed(2))
        found.append(await queue.submit(3))
        for failing in (fail(ValueError("at once")), deferLater(reactor, 0.001, int, "one")):
            with pytest.raises(ValueError, match=r"at once|invalid literal"):
                await failing
        with pytest.raises(ValueError, match="negative"):
            await queue.submit(-1)
        return found

    with reactor_of(kind, Double) as task:
        queue = task.service.requireTask(Double)
        assert task.call(deferLater, reactor, 0.001, divmod, 7, 2).result(WAIT) == (3, 1)
        assert str(task.call(fail, ValueError("no")).exception(WAIT)) == "no"
        for _ in range(10):
            assert task.call(work, queue).result(WAIT) == [1, 2, 6]
        assert not task.n_callback_errors()


@pytest.mark.parametrize("kind", ["asyncio", "shared"])
def test_on_asyncio_loop_coroutine_awaits_asyncio_and_deferreds(kind: str) -> None:
    async def work() -> str:
        await asyncio.sleep(0.001)
        deferred = await deferLater(reactor, 0.001, str, "deferred")
        async with asyncio.timeout(WAIT):
            return deferred + await asyncio.to_thread(str, " and thread")

    with reactor_of(kind) as task:
        assert task.call(work).result(WAIT) == "deferred and thread"


@pytest.mark.parametrize("kind", ["asyncio", "shared"])
def test_stop_that_gets_no_further_thread(kind: str) -> None:
    with reactor_of(kind) as task:
        task.call(asyncio.to_thread, int).result(WAIT)
        with no_further_threads():
            task.service.shutdown()
            task.service.join(WAIT)


def test_on_another_reactor_awaiting_asyncio_is_clear_error() -> None:
    class Alien:
        def __await__(self) -> Generator[object, None, None]:
            yield object()

    async def work() -> None:
        await Alien()

    with reactor_of() as task:
        error = task.call(work).exception(WAIT)
        assert isinstance(error, TypeError)
        assert "--twisted-reactor asyncio" in str(error)


@pytest.mark.parametrize("kind", [*KINDS, "shared", "slow"])
def test_coroutines_clean_up_in_the_running_reactor(kind: str) -> None:
    seen: list[str] = []
    began = threading.Event()

    async def work() -> None:
        try:
            began.set()
            await Deferred()
        finally:
            await deferLater(reactor, 0.001, seen.append, "clean")

    with reactor_of(kind) as task:
        task.call(work)
        assert began.wait(WAIT)
    assert seen == ["clean"]


@pytest.mark.parametrize("kind", ["epoll", "shared"])
def test_cancelling_a_call_cancels_its_deferred(kind: str) -> None:
    cancelled = threading.Event()

    def wait() -> Deferred[None]:
        began.set()
        return Deferred(lambda _: cancelled.set())

    began = threading.Event()
    with reactor_of(kind) as task:
        future = task.call(wait)
        assert began.wait(WAIT)
        future.cancel()
        assert cancelled.wait(WAIT)
        with pytest.raises(concurrent.futures.CancelledError):
            task.call(fail, CancelledError()).result(WAIT)


# -- one loop for all ------------------------------------------------------------------------------


def test_reactor_on_loop_that_was_restarted_lives_on() -> None:
    policy = RestartPolicy("on-failure", first_wait=0.001)

    class Loop(AsyncioLoopTask):
        RESTART = policy

    class OnLoop(TwistedReactorTask):
        LOOP = Loop

    class Lives(TwistedTask):
        LOOP = OnLoop
        starts = 0
        again = threading.Event()

        def start_in_loop(self) -> None:
            self.starts += 1
            if self.starts == 3:
                self.again.set()

    with running(service_of(Lives)) as service:
        loop, task = service.requireTask(Loop), service.requireTask(OnLoop)
        for _ in range(2):
            pending: Any = task.call(Deferred)
            task.call(int).result(WAIT)
            loop.call(loop.loop.stop)
            assert isinstance(pending.exception(WAIT), LoopStoppedError)
            assert task.call(deferLater, reactor, 0.001, int, "7").result(WAIT) == 7
        assert Lives.again.wait(WAIT)
        assert not task.supervisor.n_failures()


def test_foreign_reactor_is_an_error() -> None:
    service = make_service(service_of(Shared), "--twisted-reactor", "poll")
    with pytest.raises(UsageError, match="--twisted-reactor poll: Shared lives on the asyncio"):
        service.startBG()
    assert not reactor.running


# -- errors and the log ----------------------------------------------------------------------------


def fail_in_timer() -> None:
    reactor.callLater(0, int, "one")


def fail_in_thread_pool() -> None:
    reactor.callInThread(int, "one")


def fail_in_deferred() -> None:
    fail(ValueError("invalid literal"))
    gc.collect()


@pytest.mark.parametrize("kind", ["epoll", "asyncio", "shared"])
@pytest.mark.parametrize("way", [fail_in_timer, fail_in_thread_pool, fail_in_deferred])
def test_failure_only_twisted_catches_is_logged_once(
    kind: str, way: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    with reactor_of(kind) as task, errors_of(logging.getLogger(), logging.ERROR) as errors:
        task.call(way).result(WAIT)
        record = errors.get(timeout=WAIT)
        assert record.name == f"Service.{task.name}"
        assert record.levelname == "ERROR"
        assert "ValueError: invalid literal" in record.getMessage()
        assert record.exc_info is not None
        task.call(int).result(WAIT)
        assert errors.empty()
        assert task.n_callback_errors() == 1
    assert "Traceback" not in capfd.readouterr().out


def test_twisted_log_goes_through_logging(caplog: pytest.LogCaptureFixture) -> None:
    observers = list(globalLogPublisher._observers)
    said = Logger(namespace="acme.shop")
    with reactor_of(), caplog.at_level(logging.DEBUG):
        for level in ("debug", "info", "warn", "error", "critical"):
            getattr(said, level)("{n} sold", n=3)
        try:
            int("one")
        except ValueError:
            said.failure("not a {what}", what="number")
            old_log.err(None, "the old way")
        old_log.msg("old", "words")
    lines = [(r.name, r.levelname, r.getMessage()) for r in caplog.records]
    levels = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
    assert [line for line in lines if "sold" in line[2]] == [
        ("acme.shop", level, "3 sold") for level in levels
    ]
    assert lines.count(("acme.shop", "CRITICAL", "not a number")) == 1
    assert lines.count(("twisted", "INFO", "old words")) == 1
    [old] = [line for line in lines if "the old way" in line[2]]
    assert old[0] == "Service.TwistedReactorTask"
    assert list(globalLogPublisher._observers) == observers
    assert globalLogBeginner._temporaryObserver in observers


# -- threads and processes -------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [*KINDS, "shared"])
def test_the_reactors_threads_end_with_it(kind: str) -> None:
    with reactor_of(kind) as task:
        assert task.call(reactor.resolve, "127.0.0.1").result(WAIT) == "127.0.0.1"
        for _ in range(3):
            task.call(threads.deferToThread, int).result(WAIT)
        names = [thread.name for thread in threading.enumerate()]
        assert any("PoolThread" in name for name in names)
    assert not [t for t in threading.enumerate() if "PoolThread" in t.name]


@pytest.mark.parametrize("kind", ["epoll", "shared"])
def test_every_end_of_twisteds_own_processes_is_told(kind: str) -> None:
    def run() -> Deferred[int]:
        ended: Deferred[int] = utils.getProcessValue("true")
        return ended

    with reactor_of(kind) as task:
        futures = [task.call(run) for _ in range(100)]
        assert [future.result(WAIT) for future in futures] == [0] * 100


def test_reactor_leaves_signals_to_the_service() -> None:
    import signal

    before = [signal.getsignal(number) for number in (signal.SIGCHLD, signal.SIGINT)]
    with reactor_of():
        assert [signal.getsignal(n) for n in (signal.SIGCHLD, signal.SIGINT)] == before
