"""Restarts and stops under load: no call is lost, and none holds up the stop."""

from __future__ import annotations

import contextlib
import json
import socket
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from sparts.tasks.asyncio_loop import AsyncioLoopTask
from sparts.testing.processes import ServiceProcess
from sparts.testing.running import ServiceFactory, service_of
from sparts.vtask import RestartPolicy

from tests.grpc.generated import generated_folder
from tests.grpc.greeters import LOCAL, GreeterTask, Text, pb2_grpc, serving, target
from tests.grpc.test_conformance import unary
from tests.processes import clean_environment

ROOT = Path(__file__).parents[2]
POLICY = {
    "maxAttempts": 4,
    "initialBackoff": "0.05s",
    "maxBackoff": "1s",
    "backoffMultiplier": 2,
    "retryableStatusCodes": ["UNAVAILABLE"],
}
RETRIES = json.dumps({"methodConfig": [{"name": [{}], "retryPolicy": POLICY}]})
OPTIONS = [("grpc.service_config", RETRIES), ("grpc.use_local_subchannel_pool", 1)]
CALLERS = 4
CALLS = 100
EVERY = 25


@contextmanager
def process() -> Iterator[str]:
    """Run the service; give where it listens."""
    command = [sys.executable, "-m", "tests.grpc.restarting_service", *LOCAL]
    with ServiceProcess(command, cwd=ROOT, env=clean_environment()) as found:
        found.wait_ready()
        yield f"127.0.0.1:{found.wait_for_port()}"
        assert found.stop() == 0, found.output
        assert "Traceback" not in found.output


def call(target: str, channel: grpc.Channel | None, text: str) -> str:
    """Make a call, on a new connection if none is given."""
    if channel is not None:
        return str(pb2_grpc.GreeterStub(channel).Greet(Text(text=text), timeout=60).text)
    with grpc.insecure_channel(target, OPTIONS) as fresh:
        return str(pb2_grpc.ThreadGreeterStub(fresh).Greet(Text(text=text), timeout=60).text)


@pytest.mark.parametrize("kept", [True, False], ids=["kept", "fresh"])
def test_restarts_lose_no_call(kept: bool) -> None:
    """With a connection that is kept, and with one for each call."""
    assert generated_folder()
    with process() as target, grpc.insecure_channel(target, OPTIONS) as channel:

        def caller(number: int) -> int:
            for index in range(CALLS):
                if number == 0 and index % EVERY == 0:
                    assert call(target, channel, "restart") == "Hello, restart"
                assert call(target, channel if kept else None, "you") == "Hello, you"
            return CALLS

        with ThreadPoolExecutor(CALLERS) as callers:
            assert sum(callers.map(caller, range(CALLERS))) == CALLERS * CALLS


def test_calls_in_flight_finish_at_the_stop() -> None:
    """Also streams; new connections are refused."""
    go_on = threading.Event()

    def requests() -> Iterator[Any]:
        yield Text(text="a")
        assert go_on.wait(20)
        yield Text(text="b")

    with serving() as (service, channel):
        responses = pb2_grpc.GreeterStub(channel).Echo(requests(), timeout=60)
        assert next(responses).text == "a"
        service.shutdown()
        assert service.health.wait_stopping(20)
        go_on.set()
        assert [each.text for each in responses] == ["b"]
        assert responses.code() is grpc.StatusCode.OK


def test_call_that_takes_too_long_ends_unavailable() -> None:
    """The stop keeps its deadline."""
    with serving("--stop-timeout", "0.5") as (service, channel):
        future = pb2_grpc.GreeterStub(channel).Greet.future(Text(text="wait"), timeout=60)
        assert pb2_grpc.GreeterStub(channel).Greet(Text(text="you")).text == "Hello, you"
        service.shutdown()
        assert future.exception(timeout=20).code() is grpc.StatusCode.UNAVAILABLE


def test_client_that_connects_at_the_stop_is_served(service_factory: ServiceFactory) -> None:
    """It could not know of it."""
    message = Text(text="you").SerializeToString()
    service = service_factory(service_of(GreeterTask), *LOCAL)
    (address,) = service.requireTask(GreeterTask).bound_addrs
    with socket.create_connection(address, timeout=20) as connection:
        service.shutdown()
        assert unary(connection, "/sparts.tests.Greeter/Greet", message) == "0"


@pytest.mark.parametrize("uvloop", [False, True], ids=["asyncio", "uvloop"])
def test_restarted_loop_serves_again(service_factory: ServiceFactory, uvloop: bool) -> None:
    """And threads of the server before are ended."""
    policy = RestartPolicy("on-failure", first_wait=0.001)
    loop_class = type("AsyncioLoopTask", (AsyncioLoopTask,), {"RESTART": policy})
    argv = [*LOCAL, *(["--asyncio-uvloop"] if uvloop else [])]
    service_factory.warm_up(service_of(loop_class), *argv[len(LOCAL) :])
    service = service_factory(service_of(GreeterTask, loop_class), *argv)
    loop_task = service.requireTask("AsyncioLoopTask")
    with grpc.insecure_channel(target(service), OPTIONS) as channel:
        for stub in (pb2_grpc.GreeterStub(channel), pb2_grpc.ThreadGreeterStub(channel)):
            assert stub.Greet(Text(text="you"), timeout=20).text == "Hello, you"
        (address,) = service.requireTask(GreeterTask).bound_addrs
        with socket.create_connection(address, timeout=20) as before:
            assert before.recv(1)
            loop_task.call(loop_task.loop.stop)
            with contextlib.suppress(ConnectionError):
                while before.recv(65536):  # it ends with the loop
                    pass
        greet = pb2_grpc.ThreadGreeterStub(channel).Greet
        assert greet(Text(text="you"), timeout=20, wait_for_ready=True).text == "Hello, you"
    assert loop_task.supervisor.n_restarts() == 1
