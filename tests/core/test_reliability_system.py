"""A service and the system around it: rows of docs/reliability.md, each a test of the same name."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import threading
from pathlib import Path

import pytest
from sparts.builtin import systemd
from sparts.builtin.systemd import Watchdog
from sparts.testing.running import running, service_of
from sparts.vservice import VService
from sparts.vtask import VTask

from tests.core.scripts import PLAIN, ended, managed, service, stopped
from tests.processes import idle_switches


def test_sigusr1_logs_the_stacks_of_threads_and_coroutines(tmp_path: Path) -> None:
    body = """
import asyncio
from sparts.loops import LoopBoundTask
from sparts.tasks.asyncio import AsyncioLoopTask, AsyncioTask
async def sleeper():
    await asyncio.get_running_loop().create_future()
class Bound(LoopBoundTask):
    LOOP = AsyncioLoopTask
    def start_in_loop(self):
        self.kept = asyncio.ensure_future(sleeper())
class Awaits(AsyncioTask):
    async def run(self):
        await asyncio.get_running_loop().create_future()
TASKS = [Worker, Bound, Awaits]
"""
    with service(tmp_path, body) as process:
        process.read_until_started()
        process.process.send_signal(signal.SIGUSR1)
        process.read_until("WARNING:S:Stacks of all threads:")
        process.read_until("Coroutine .* [(]sleeper[)]:")
        assert process.stop() == 0
    assert "Thread MainThread:" in process.lines
    stacks = [line for line in process.lines if line.startswith(("Thread ", "Coroutine "))]
    assert stacks.count("Thread S.Worker:") == 1
    assert len(set(stacks)) == len(stacks)  # each once: Awaits has its worker on the loop


def test_service_in_a_thread_installs_no_signal_handlers() -> None:
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1)
    before = [signal.getsignal(number) for number in numbers]
    with running(VService):
        assert [signal.getsignal(number) for number in numbers] == before


def test_service_that_leaves_signals_to_the_application(tmp_path: Path) -> None:
    body = """
class S(VService):
    REGISTER_SIGNAL_HANDLERS = False
    TASKS = [Idle]
"""
    process = stopped(tmp_path, body, number=signal.SIGINT, status=0)
    assert "INFO:S:KeyboardInterrupt Received!  Stopping Tasks..." in process.lines
    assert "Idle joined" in process.lines
    with service(tmp_path, body) as process:
        process.read_until_started()
        assert process.stop(signal.SIGTERM) == -signal.SIGTERM


def test_application_that_handles_a_signal_itself(tmp_path: Path) -> None:
    body = """
class S(VService):
    REGISTER_SIGNAL_HANDLERS = False
    def initService(self):
        S.instance = self
handled = []
def handle(number, frame):
    handled.append(number)
    if len(handled) == 300:
        S.instance.shutdown()
    say(len(handled))
signal.signal(signal.SIGUSR2, handle)
"""
    with service(tmp_path, body) as process:
        process.read_until_started()
        for count in range(1, 301):  # each comes when the main thread is about to wait again
            process.process.send_signal(signal.SIGUSR2)
            process.read_until(f"^{count}$")
        assert process.finish() == 0


def test_equal_signals_at_once_count_once(tmp_path: Path) -> None:
    body = """
class A(VTask):
    def _runloop(self):
        os.kill(os.getpid(), signal.SIGTERM)
        self.stop_event.wait()
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0)
    def join(self):
        super().join()
        say("joined")
"""
    process = ended(tmp_path, body, status=0)
    assert "joined" in process.lines


def test_timeout_of_coreutils_ends_the_service_in_order(tmp_path: Path) -> None:
    timeout = ("timeout", "--preserve-status", "3", sys.executable)
    process = ended(tmp_path, PLAIN, python=timeout, status=0)
    assert "INFO:S:Instance shut down gracefully" in process.lines


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGHUP"])
def test_signal_at_the_very_end_changes_no_status(tmp_path: Path, name: str) -> None:
    body = f"""
class Last:
    def __del__(self, kill=os.kill, write=os.write, pid=os.getpid(), number=signal.{name}):
        kill(pid, number)
        write(1, b"killed\\n")
sys.last = Last()
class S(VService):
    def initService(self):
        self.shutdown()
"""
    assert "killed" in ended(tmp_path, body, status=0).lines


def test_signal_before_the_service_runs_has_its_default(tmp_path: Path) -> None:
    body = """
os.kill(os.getpid(), signal.SIGTERM)
class S(VService):
    pass
"""
    with service(tmp_path, body) as process:
        assert process.finish() == -signal.SIGTERM


def test_children_of_the_process_end_by_sigterm(tmp_path: Path) -> None:
    body = """
import multiprocessing
def child():
    threading.Event().wait()
class A(VTask):
    def _runloop(self):
        for _ in range(20):
            process = multiprocessing.get_context("fork").Process(target=child)
            process.start()
            process.terminate()
            process.join()
            say("ended", process.exitcode)
        if (pid := os.fork()) == 0:
            say("woken by", signal.set_wakeup_fd(-1))
            os.kill(os.getpid(), signal.SIGINT)
            os._exit(3)
        say("forked", os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
        self.service.shutdown()
"""
    process = ended(tmp_path, body, status=0)
    assert process.lines.count("ended -15") == 20
    assert "woken by -1" in process.lines


def test_storm_of_signals_is_survived(tmp_path: Path) -> None:
    body = """
class S(VService):
    TASKS = [Worker]
    def initService(self):
        say("made")
"""
    with service(tmp_path, body) as process:
        process.read_until("made")
        reader = threading.Thread(target=process.read_until, args=("Stopping Tasks",))
        reader.start()
        for _ in range(300):
            process.process.send_signal(signal.SIGHUP)
            process.process.send_signal(signal.SIGUSR1)
        process.process.send_signal(signal.SIGTERM)
        reader.join()
        assert process.finish() == 0


def test_systemd_is_told_of_readiness_reload_and_stop(tmp_path: Path) -> None:
    body = """
class A(Worker):
    def reload(self):
        self.service.registerWarning("disk is nearly full")
"""
    with managed(tmp_path, body) as (process, manager):
        told = manager.read_until("READY=1")
        assert told[0] == "STATUS=STARTING"
        assert "STATUS=ALIVE" in told
        process.process.send_signal(signal.SIGHUP)
        told = manager.read_until("READY=1")
        assert told[0].startswith("RELOADING=1\nMONOTONIC_USEC=")
        assert "STATUS=WARNING: disk is nearly full" in told
        process.process.send_signal(signal.SIGTERM)
        told = manager.read_until("STATUS=STOPPED: disk is nearly full")
        assert told[0] == "STOPPING=1"
        assert process.finish() == 0


def test_systemd_sees_a_restart_as_a_reload(tmp_path: Path) -> None:
    body = """
class A(Worker):
    def reload(self):
        self.service.restart()
"""
    with managed(tmp_path, body) as (process, manager):
        manager.read_until("READY=1")
        process.process.send_signal(signal.SIGHUP)
        told = manager.read_until("STATUS=STARTING")
        # After STOPPING=1, systemd kills the process when TimeoutStopSec has passed.
        assert "STOPPING=1" not in told
        begins = [line.startswith("RELOADING=1\nMONOTONIC_USEC=") for line in told]
        assert any(begins[told.index("STATUS=STOPPING") - 1 :])
        assert manager.read_until("READY=1")[-1] == "READY=1"
        process.process.send_signal(signal.SIGTERM)
        assert "STOPPING=1" in manager.read_until("STATUS=STOPPED")
        assert process.finish() == 0


def test_systemd_in_the_abstract_namespace_is_told_too(tmp_path: Path) -> None:
    name = f"sparts-test-{os.getpid()}-{threading.get_ident()}"
    with managed(tmp_path, PLAIN, f"\0{name}") as (process, manager):
        manager.read_until("READY=1")
        assert process.stop() == 0


def test_watchdog_is_fed_while_the_service_is_healthy(tmp_path: Path) -> None:
    body = """
class A(Worker):
    well = True
    @property
    def healthy(self):
        return self.well
    def reload(self):
        self.well = not self.well
        say("healthy", self.well)
"""
    with managed(tmp_path, body, WATCHDOG_USEC="20000") as (process, manager):
        told = manager.read_until("WATCHDOG=1")
        assert "READY=1" in told  # not before it is ready
        manager.read_until("WATCHDOG=1")
        process.process.send_signal(signal.SIGHUP)
        process.read_until("healthy False")
        manager.read_until("READY=1")  # the reload has ended
        manager.socket.settimeout(0.2)  # twenty times as long as between two
        told = []
        with contextlib.suppress(TimeoutError):
            while True:
                told.append(manager.socket.recv(65536).decode())
        assert told in ([], ["WATCHDOG=1"])  # one may have been on its way
        manager.socket.settimeout(None)
        process.process.send_signal(signal.SIGHUP)
        manager.read_until("WATCHDOG=1")
        process.process.send_signal(signal.SIGTERM)
        manager.read_until("STOPPING=1")
        assert manager.read_until("STATUS=STOPPED")[-1] == "STATUS=STOPPED"
        assert process.finish() == 0


def test_watchdog_is_fed_at_half_its_interval() -> None:
    waits: list[float | None] = []

    class Ended(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            waits.append(timeout)
            return True

    with running(VService) as instance:
        watchdog = Watchdog(instance, 30.0)
        watchdog.ended = Ended()
        watchdog.feed()
    assert waits == [15.0]


def test_watchdog_is_fed_while_the_service_restarts(tmp_path: Path) -> None:
    body = """
class A(Worker):
    def initTask(self):
        super().initTask()
        if begun:
            open(os.environ["GATE"]).read()
        begun.append(self)
    def reload(self):
        self.service.restart()
begun = []
"""
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    variables = {"WATCHDOG_USEC": "20000", "GATE": str(gate)}
    with managed(tmp_path, body, **variables) as (process, manager):
        manager.read_until("READY=1")
        process.process.send_signal(signal.SIGHUP)
        manager.read_until("STATUS=STARTING")
        for _ in range(20):  # the restart waits in initTask
            manager.read_until("WATCHDOG=1")
        gate.write_text("")
        manager.read_until("READY=1")
        process.process.send_signal(signal.SIGTERM)
        assert manager.read_until("STATUS=STOPPED")[-1] == "STATUS=STOPPED"
        assert process.finish() == 0


def test_watchdog_of_another_process_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    ours = str(os.getpid())
    for usec, pid, interval in (("20000", "1", None), ("20000", ours, 0.02), ("no", ours, None)):
        monkeypatch.setenv("WATCHDOG_USEC", usec)
        monkeypatch.setenv("WATCHDOG_PID", pid)
        assert systemd.watchdog_interval() == interval


def test_manager_that_is_gone_does_not_disturb(tmp_path: Path) -> None:
    for address in (str(tmp_path / "nobody"), "garbage", "@nobody-there", "/" + "x" * 200):
        stopped(tmp_path, PLAIN, NOTIFY_SOCKET=address, status=0)


def test_development_mode_shows_no_warning(tmp_path: Path) -> None:
    body = """
class S(VService):
    TASKS = [Worker, "AsyncioLoopTask", Idle]
    count = 0
    def initService(self):
        S.count += 1
        if S.count < 3:
            self.restart()
"""
    python = (sys.executable, "-X", "dev", "-W", "error")
    with service(tmp_path, body, python=python) as process:
        for _ in range(2):
            process.read_until("gracefully")
        process.read_until_started()
        assert process.stop() == 0
    assert "Warning" not in process.output


def test_idle_service_never_wakes_up(tmp_path: Path) -> None:
    body = """
class Other(Worker):
    workers = 3
TASKS = [Worker, Other, "AsyncioLoopTask", "SelectTask", "QueueTask"]
"""
    with service(tmp_path, body) as process:
        process.read_until_started()
        assert idle_switches(process.process.pid, 0.5) == 0
        assert process.stop() == 0


def test_thousand_tasks_start_and_stop() -> None:
    classes = [type(f"T{index}", (VTask,), {"LOOPLESS": True}) for index in range(900)]
    threads = [
        type(f"W{index}", (VTask,), {"_runloop": lambda self: self.stop_event.wait()})
        for index in range(100)
    ]

    with running(service_of(*classes, *threads)) as instance:
        assert len(instance.tasks) == 1000
        assert instance.health.ready
    assert {task.state for task in instance.tasks} == {"STOPPED"}


def test_inherited_socket_is_served(tmp_path: Path) -> None:
    body = """
import socket

listener = socket.create_server(("127.0.0.1", 0))
say("port", listener.getsockname()[1])
os.dup2(listener.detach(), 3)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1", LISTEN_FDNAMES="http")
TASKS = ["TornadoHTTPTask"]
"""
    with service(tmp_path, body) as process:
        port = int(process.read_until(r"port (\d+)")[1])
        assert process.listening_port("TornadoHTTPTask") == port
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.sendall(b"GET / HTTP/1.0\r\n\r\n")
            assert client.makefile("rb").read().endswith(b"Hello, world")
        assert process.stop() == 0
