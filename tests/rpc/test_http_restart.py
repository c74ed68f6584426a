"""Restarts and a stop of RPC over HTTP under load: no call is lost."""

from __future__ import annotations

import http.client
import signal
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from sparts.rpc import connect
from sparts.testing.processes import ServiceProcess
from sparts.testing.waiting import WAIT

from tests.processes import clean_environment
from tests.rpc.restarting import FastSums, Sums

CALLERS = 4
RESTARTS = 3
ARGV = [
    "--rpc-http-host", "127.0.0.1", "--rpc-http-port", "0", "--status-host", "127.0.0.1",
    "--status-port", "0",
]  # fmt: skip


@contextmanager
def running(*argv: str) -> Iterator[tuple[ServiceProcess, str, int]]:
    """Run the service; give its process, the URL of the methods, and the port of its status."""
    command = [sys.executable, "-m", "tests.rpc.restarting", *ARGV, *argv]
    with ServiceProcess(command, cwd=Path(__file__).parents[2], env=clean_environment()) as found:
        found.wait_ready()
        ports = [found.wait_for_port(name) for name in ("RPCHTTPTask", "StatusHTTPTask")]
        yield found, f"http://127.0.0.1:{ports[0]}", ports[1]
        if not found.ended:
            found.send(signal.SIGTERM)
        assert found.wait() == 0
        assert "Traceback" not in found.output


def test_restarts_lose_no_idempotent_call() -> None:
    """On connections that are kept, and on new ones."""
    over = threading.Event()
    with running() as (process, url, _), ThreadPoolExecutor(CALLERS) as callers:

        def call(number: int) -> int:
            done = 0
            interface: Any = (Sums, FastSums)[number % 2]
            with connect(url, interface) as kept:
                while not over.is_set():
                    if number < 2:
                        assert kept.twice(done) == 2 * done
                    else:
                        with connect(url, interface) as fresh:
                            assert fresh.twice(done) == 2 * done
                    done += 1
            return done

        results = [callers.submit(call, number) for number in range(CALLERS)]
        try:
            for number in range(RESTARTS):
                with connect(url, Sums, retries=0) as control:
                    control.again()
                process.wait_for_line("All tasks started", number + 2)
        finally:
            over.set()
        assert min(each.result() for each in results) > RESTARTS


def test_drain_loses_no_call_of_a_balancer() -> None:
    """It sends no more calls when the service is not ready, and none twice."""
    begun = threading.Barrier(CALLERS + 1)
    with (
        running("--drain-time", "1s") as (process, url, status),
        ThreadPoolExecutor(CALLERS) as callers,
    ):

        def call(number: int) -> int:
            done = 0
            interface: Any = (Sums, FastSums)[number % 2]
            with (
                connect(url, interface, retries=0) as kept,
                closing(http.client.HTTPConnection("127.0.0.1", status, timeout=WAIT)) as probe,
            ):
                while True:
                    probe.request("GET", "/readyz")
                    response = probe.getresponse()
                    response.read()
                    if response.status == 503:
                        return done
                    assert kept.once(done) == done
                    done += 1
                    if done == 1:
                        begun.wait(WAIT)

        results = [callers.submit(call, number) for number in range(CALLERS)]
        begun.wait(WAIT)
        process.send(signal.SIGTERM)
        assert all(each.result() for each in results)
        process.wait()
