"""What everybody imports as the reactor is one proxy, over all restarts of a service."""

from __future__ import annotations

import contextlib
import sys
import threading
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sparts.errors import LoopStoppedError, StartError
from sparts.tasks.twisted import TwistedReactorTask, TwistedTask
from sparts.tasks.twisted.global_reactor import PROVIDED, reactor
from sparts.testing.loops import WAIT
from sparts.testing.running import make_service, running, service_of
from sparts.testing.waiting import restart, wait_ready
from twisted.internet import reactor as imported
from twisted.internet import task as twisted_task
from twisted.internet import threads
from zope.interface import providedBy

from tests.processes import run_to_end
from tests.threads import in_threads

Service = service_of(TwistedReactorTask)
call_later = reactor.callLater  # kept, as much code keeps it


def of(service: Any) -> Any:
    return service.requireTask(TwistedReactorTask)


def test_everybody_gets_proxy_which_provides_what_reactors_provide() -> None:
    assert imported is reactor is sys.modules["twisted.internet.reactor"]
    for interface in PROVIDED:
        assert interface.providedBy(reactor)
        assert interface(reactor) is reactor
    with running(Service) as service:
        provided = {i for i in providedBy(of(service).reactor) if not i.__name__.startswith("_")}
        assert provided <= set(providedBy(reactor))


def test_looping_call_works_in_every_instance() -> None:
    class Ticks(TwistedTask):
        def start_in_loop(self) -> None:
            self.ticked, self.deferred = threading.Event(), threading.Event()
            self.kept = threading.Event()
            self.beat = twisted_task.LoopingCall(self.ticked.set)
            self.beat.start(0.001)
            threads.deferToThread(threading.get_ident).addCallback(self.from_thread)
            call_later(0.001, self.kept.set)

        def from_thread(self, ident: int) -> None:
            assert ident != threading.get_ident()
            self.deferred.set()

        def stop_in_loop(self) -> None:
            self.beat.stop()

    with running(service_of(Ticks)) as service:
        instance = service
        for _ in range(3):
            task = instance.requireTask(Ticks)
            for event in (task.ticked, task.deferred, task.kept):
                assert event.wait(WAIT)
            instance = restart(instance)
    assert not [t for t in threading.enumerate() if "PoolThread" in t.name]


def test_a_hundred_restarts_in_one_process_leak_nothing() -> None:
    def descriptors() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    with running(Service) as service:
        instance = restart(service)
        reactors = [of(instance).reactor]
        before, count = threading.active_count(), descriptors()
        for _ in range(100):
            instance = restart(instance)
            of(instance).call(threads.deferToThread, int).result(WAIT)
            reactors.append(of(instance).reactor)
        assert threading.active_count() <= before + 2  # the spare, and one of the reactor's pool
        assert descriptors() <= count
    assert len({id(r) for r in reactors}) == len(reactors)


def test_without_reactor_its_use_is_clear_error() -> None:
    assert not reactor.running
    assert reactor.seconds() > 0
    for use in (reactor.callLater, reactor.callFromThread, reactor.callInThread):
        with pytest.raises(LoopStoppedError, match="No reactor lives now"):
            use(0, int)
    with pytest.raises(LoopStoppedError):
        reactor.run()
    with pytest.raises(AttributeError, match="No reactor lives now"):
        _ = reactor.threadpool
    assert not hasattr(reactor, "__file__")


def test_late_call_from_thread_is_an_error() -> None:
    for kind in ("epoll", "poll", "select", "asyncio"):
        with running(Service, "--twisted-reactor", kind) as service:
            kept = of(service).reactor
            assert kept.running
        for late in (kept, reactor):
            with pytest.raises(LoopStoppedError):
                late.callFromThread(int)
        with pytest.raises(LoopStoppedError):
            kept.callLater(1, int)


def test_calls_during_stop_meet_no_closed_descriptor() -> None:
    def call_on(kept: Any) -> None:
        with contextlib.suppress(LoopStoppedError):
            while True:
                kept.callFromThread(int)

    for kind in ("epoll", "asyncio") * 5:
        argv = ("--twisted-reactor", kind)
        with contextlib.ExitStack() as callers, running(Service, *argv) as service:
            calls = [partial(call_on, of(service).reactor)] * 2
            callers.enter_context(in_threads(*calls))


def test_work_for_the_reactor_may_come_early() -> None:
    seen: list[str] = []
    reactor.callWhenRunning(seen.append, "running")
    reactor.addSystemEventTrigger("before", "shutdown", seen.append, "shutdown")
    reactor.removeSystemEventTrigger(reactor.callWhenRunning(seen.append, "removed"))
    with running(Service) as service:
        of(service).call(int).result(WAIT)
        assert seen == ["running"]
    assert seen == ["running", "shutdown"]
    with running(Service):
        pass
    assert seen == ["running", "shutdown"]  # once


def test_a_second_reactor_task_is_a_clear_error() -> None:
    taken = pytest.raises(StartError, match=r"one reactor a process, and it is that of Service\.")
    with running(Service), taken:
        make_service(Service).startBG()
    both = service_of(TwistedReactorTask, "second=TwistedReactorTask")
    with pytest.raises(StartError, match="one reactor a process"):
        make_service(both).startBG()
    with running(Service):
        pass


def test_reactor_stop_ends_the_service_in_order() -> None:
    stopped: list[str] = []

    class Careful(TwistedTask):
        def stop_in_loop(self) -> None:
            stopped.append(str(self.reactor.running))

    for kind in ("epoll", "asyncio"):
        service = make_service(service_of(Careful), "--twisted-reactor", kind)
        thread = service.startBG()
        wait_ready(service)
        reactor.callFromThread(reactor.stop)
        thread.join(WAIT)
        assert thread.status == 0
    assert stopped == ["True", "True"]


START = (
    "from sparts.testing.running import service_of\n"
    "from sparts.tasks.twisted import TwistedReactorTask\n"
    "service_of(TwistedReactorTask).initFromCLI()"
)


@pytest.mark.parametrize("kind", ["epoll", "asyncio"])
def test_dry_run_leaves_nothing_of_its_reactor(kind: str, tmp_path: Path) -> None:
    command = [sys.executable, "-X", "dev", "-c", START, "--dryrun", "--twisted-reactor", kind]
    status, output = run_to_end(command, cwd=tmp_path)
    assert status == 0
    assert "Warning" not in output


def test_reactor_that_was_installed_before_is_clear_error(tmp_path: Path) -> None:
    script = f"from twisted.internet import reactor\n{START}"
    status, output = run_to_end([sys.executable, "-c", script], cwd=tmp_path)
    assert status == 1
    assert "import sparts.tasks.twisted before anything that imports" in output
