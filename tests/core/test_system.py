"""What takes the place of Linux's own ways: sparts.system, and services without any of them."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from sparts import system
from sparts.tasks.select import SelectTask
from sparts.testing import ServiceProcess
from sparts.testing.running import running, running_task, service_of

from tests.processes import WITHOUT_LINUX

ROOT = Path(__file__).parents[2]
PROGRAM = [sys.executable, "-c", "import sys; sys.stdin.read()"]

SERVICE = """
from sparts.tasks.periodic import PeriodicTask
from sparts.tasks.select import SelectTask
from sparts.vservice import VService


class Command(PeriodicTask):
    DEPS = [SelectTask]
    INTERVAL = 60.0

    def execute(self, context):
        select = self.service.requireTask(SelectTask)
        done = select.popen_communicate(["echo", "a child"]).result(20)
        self.logger.info("got %s", done.stdout)


class Service(VService):
    TASKS = [Command, "NBServerTask", "FB303HandlerTask", "AsgiTask", "GrpcTask"]
    TASKS += ["StatusHTTPTask", "TwistedReactorTask"]


async def app(scope, receive, send):
    assert scope["type"] == "lifespan"
    for kind in ("startup", "shutdown"):
        await receive()
        await send({"type": f"lifespan.{kind}.complete"})


if __name__ == "__main__":
    Service.initFromCLI()
"""


@pytest.fixture(params=["here", "by_thread"])
def watch_child(request: pytest.FixtureRequest) -> Callable[[int], int]:
    """Give each of the ways to watch a child."""
    return system.watch_child if request.param == "here" else system._watch_by_thread


def can_be_read(descriptor: int, milliseconds: int | None = 20_000) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(milliseconds))


def test_end_of_a_child_can_be_read(watch_child: Callable[[int], int]) -> None:
    with subprocess.Popen(PROGRAM, stdin=subprocess.PIPE) as child:
        descriptor = watch_child(child.pid)
        try:
            assert not can_be_read(descriptor, 0)
            child.send_signal(signal.SIGKILL)
            assert can_be_read(descriptor)
            assert child.wait() == -signal.SIGKILL  # nobody else has waited for it
        finally:
            os.close(descriptor)
    for thread in threading.enumerate():
        if thread.name.startswith("sparts-child"):
            thread.join(20)
            assert not thread.is_alive()


def test_closed_descriptor_is_no_exceptional_condition() -> None:
    with running_task(SelectTask) as task:
        one, other = socket.socketpair()
        task.register_except(one, print)
        one.close()
        other.close()
        assert task.call(lambda: 5).result(20) == 5


def test_descriptor_registered_beside_exceptions_is_served() -> None:
    one, other = socket.socketpair()
    with one, other, running(service_of(SelectTask)) as service:
        task = service.requireTask(SelectTask)
        called = threading.Event()
        task.register_except(one, print)
        task.call(int).result(20)
        task.register_read(one, lambda _: called.set())
        other.send(b"x")
        assert called.wait(20)
        task.unregister_all(one)


def test_services_run_without_what_linux_alone_has(tmp_path: Path) -> None:
    (tmp_path / "service.py").write_text(SERVICE)
    argv = [sys.executable, "service.py", "--asgi-app", "service:app"]
    for prefix in ("thrift", "asgi", "grpc", "status"):
        argv += [f"--{prefix}-host", "127.0.0.1", f"--{prefix}-port", "0"]
    env = {"PYTHONPATH": str(ROOT / WITHOUT_LINUX)}
    with ServiceProcess(argv, cwd=tmp_path, env=env) as service:
        service.wait_ready()
        service.wait_for_line("got a child")
        assert service.stop() == 0, service.output
