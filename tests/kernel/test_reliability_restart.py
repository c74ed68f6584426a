"""Faults around restart and reload: rows of docs/reliability.md, each a test of the same name."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sparts.errors import StartError
from sparts.inbox import Message
from sparts.testing.running import make_service, running, service_of
from sparts.testing.waiting import WAIT
from sparts.vservice import VService
from sparts.vtask import VTask

from tests.core.scripts import ended, service, stopped
from tests.processes import ServiceProcess

RESTARTS = """
class A(Worker):
    def initTask(self):
        say("A init")
class S(VService):
    TASKS = [A]
    count = 0
    def initService(self):
        S.count += 1
        if S.count < 3:
            self.restart()
        say("made", S.count)
"""


class Waits(VTask):
    def _runloop(self) -> None:
        self.stop_event.wait()


@contextmanager
def configured(
    folder: Path, text: str, body: str
) -> Iterator[tuple[ServiceProcess, Callable[[str], None]]]:
    """Run a service with a configuration; give it, and what reloads it with another."""
    config = folder / "service.toml"
    config.write_text(text)
    with service(folder, body, "--config", str(config)) as process:

        def reload(text: str) -> None:
            config.write_text(text)
            process.send(signal.SIGHUP)

        process.read_until_started()
        yield process, reload
        assert process.stop() == 0


def test_restart_makes_new_instance_from_same_options() -> None:
    made: list[VService] = []

    class Service(VService):
        TASKS = [Waits]
        third = threading.Event()

        def initService(self) -> None:  # noqa: N802
            made.append(self)
            if len(made) == 3:
                self.third.set()

    thread = make_service(Service, "--stop-timeout", "11s").startBG()
    thread.service.restart()
    while len(made) < 2:
        made[0].join()
        made[-1].health.wait_ready()
    made[1].health.wait_ready()
    made[1].restart()
    Service.third.wait()
    assert made[0].health.status == made[1].health.status == "STOPPED"
    assert {instance._instance.settings.stop_timeout for instance in made} == {11.0}
    made[0].shutdown()  # a holder of the first instance stops the service that lives
    thread.join()
    assert made[2].health.status == "STOPPED"


def test_restart_asked_for_during_the_start(tmp_path: Path) -> None:
    with service(tmp_path, RESTARTS) as process:
        process.read_until("made 3")
        process.read_until_started()
        assert process.stop() == 0
    assert process.output.count("Instance shut down gracefully") == 3


def test_restart_whose_new_start_fails(tmp_path: Path) -> None:
    body = """
class S(VService):
    count = 0
    def initService(self):
        S.count += 1
        if S.count == 2:
            raise ValueError("not again")
        self.restart()
"""
    process = ended(tmp_path, body, status=1)
    assert "ERROR:S:The start failed: ValueError: not again" in process.lines


def test_signal_while_a_restart_stops_the_tasks(tmp_path: Path) -> None:
    body = """
class A(Idle):
    def stop(self):
        say("A stops")
        release.acquire()
class B(VTask):
    DEPS = [A]
    def _runloop(self):
        self.service.wait_ready()
        self.service.restart()
release = threading.Semaphore(0)
class S(VService):
    TASKS = [B]
    def initService(self):
        say("made")
signal.signal(signal.SIGUSR2, lambda *_: release.release())
"""
    with service(tmp_path, body) as process:
        process.read_until("A stops")
        process.process.send_signal(signal.SIGTERM)
        process.read_until("SIGTERM Received!")
        process.process.send_signal(signal.SIGUSR2)
        assert process.finish() == 0
    assert process.lines.count("made") == 1


def test_reload_reads_the_configuration_and_tells_the_tasks(tmp_path: Path) -> None:
    body = """
from sparts.options import option
class A(Worker):
    size = option(type=int, default=0)
    def reload(self):
        say("size is", self.size, self.service.status, self.service.getWarnings())
"""
    with configured(tmp_path, "[A]\nsize = 1\n", body) as (process, reload):
        reload("[A]\nsize = 2\n")
        process.read_until("size is 2 ALIVE")
        reload("[A]\nsize = many\n")
        process.read_until("size is 2 WARNING .*Reload of options failed")
        reload("[A]\nsize = 3\n")
        process.read_until("size is 3 ALIVE {}")
    assert process.read_line("ERROR:S:Reload of options failed: .*service.toml: line 2: not valid")


def test_reload_of_options_that_contradict_each_other(tmp_path: Path) -> None:
    body = """
class A(Worker):
    def reload(self):
        say("drains for", self.service.drain_time, self.service.getWarnings())
"""
    with configured(tmp_path, "stop-timeout = 25\n", body) as (process, reload):
        reload("drain-time = 60\n")
        process.read_until("drains for 0.0 .*must be shorter than --stop-timeout")


@pytest.mark.parametrize("error", [ValueError("not now"), SystemExit("not now")])
def test_task_whose_reload_fails(error: BaseException, caplog: pytest.LogCaptureFixture) -> None:
    class Refuses(Waits):
        def reload(self) -> None:
            raise error

    class After(Waits):
        reloaded = threading.Event()

        def reload(self) -> None:
            self.reloaded.set()

    with running(service_of(Refuses, After)) as instance:
        instance._instance.inbox.put(Message("signal", None, signal.SIGHUP))
        assert After.reloaded.wait(WAIT)
        with instance.health._readiness:
            instance.health._readiness.wait_for(instance.getWarnings)
        assert list(instance.getWarnings().values()) == ["Reload of Refuses failed: not now"]
        assert instance.health.status == "WARNING"
    assert instance.health.status == "STOPPED"
    assert f"{type(error).__name__}: not now" in caplog.text


def test_service_whose_reload_fails() -> None:
    def reload(service: VService) -> None:
        raise ValueError("not now")

    with running(service_of(Waits, reload=reload)) as instance:
        instance.health.request_reload()
        with instance.health._readiness:
            assert instance.health._readiness.wait_for(instance.getWarnings, WAIT)
        assert list(instance.getWarnings().values()) == ["Reload of Service failed: not now"]


def test_stop_during_a_hung_reload(tmp_path: Path) -> None:
    body = """
class A(Worker):
    def reload(self):
        say("hangs")
        threading.Event().wait()
"""
    with service(tmp_path, body, "--stop-timeout", "200ms") as process:
        process.read_until_started()
        process.process.send_signal(signal.SIGHUP)
        process.read_until("hangs")
        assert process.stop(signal.SIGTERM) == 70
    assert "in reload" in process.output


def test_reload_during_the_start_comes_after_it(tmp_path: Path) -> None:
    body = """
class A(Worker):
    def initTask(self):
        os.kill(os.getpid(), signal.SIGHUP)
    def reload(self):
        say("reload while", self.service.status)
"""
    stopped(tmp_path, body, until="reload while ALIVE", status=0)


def test_reload_during_the_stop_is_left_out(tmp_path: Path) -> None:
    body = """
class A(Worker):
    def stop(self):
        os.kill(os.getpid(), signal.SIGHUP)
        super().stop()
    def reload(self):
        say("reload")
"""
    process = stopped(tmp_path, body, status=0)
    assert "reload" not in process.lines


def test_failed_background_start_is_raised() -> None:
    class Fails(VTask):
        LOOPLESS = True

        def initTask(self) -> None:  # noqa: N802
            raise ValueError("no such table")

    before = threading.active_count()
    instance = make_service(service_of(Waits, Fails))
    with pytest.raises(StartError, match="initTask of Fails failed: ValueError: no such table"):
        instance.startBG()
    assert instance.health.status == "DEAD"
    assert threading.active_count() == before


def test_reload_and_stop_during_the_start(tmp_path: Path) -> None:
    body = """
class A(Idle):
    def initTask(self):
        os.kill(os.getpid(), signal.SIGHUP)
        os.kill(os.getpid(), signal.SIGTERM)
        stopping.wait()
    def reload(self):
        say("reload")
class S(TellsOfItsStop):
    TASKS = [A]
"""
    process = ended(tmp_path, body, status=0)
    assert "reload" not in process.lines


def test_start_that_hangs_in_background_and_ends_late() -> None:
    release = threading.Event()

    class Hangs(VTask):
        LOOPLESS = True

        def initTask(self) -> None:  # noqa: N802
            release.wait()

    before = set(threading.enumerate())
    with pytest.raises(StartError, match="initTask of Hangs did not end within 0.1 s"):
        make_service(service_of(Waits, Hangs), "--start-timeout", "100ms").startBG()
    (left,) = set(threading.enumerate()) - before
    release.set()
    left.join()


def test_old_objects_are_collected_after_a_restart(tmp_path: Path) -> None:
    body = """
import gc, weakref
class Loop:
    def __init__(self):
        self.me = self
first = Loop()
gone = weakref.ref(first)
class A(VTask):
    def _runloop(self):
        global first
        while gc.get_freeze_count() < 1000:  # it is soon after all have started
            time.sleep(0.001)
        first, again = None, first is None
        gc.collect()
        say("gone:", gone() is None)
        if not again:
            self.service.restart()
        self.stop_event.wait()
"""
    with service(tmp_path, body) as process:
        assert process.read_until("gone: (.*)")[1] == "False"
        assert process.read_until("gone: (.*)")[1] == "True"
        assert process.stop() == 0
