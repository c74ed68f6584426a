"""What docs/alternatives.md says of a crash and a stop of others, tried with those installed here.

If one of these fails because the other has changed, correct the page.
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path

from tests.processes import ServiceProcess

AIOMISC = """
import asyncio, signal
import aiomisc

class Failing(aiomisc.Service):
    async def start(self):
        self.start_event.set()
        while signal.getsignal(signal.SIGTERM) == signal.SIG_DFL:  # it has not begun to run yet
            await asyncio.sleep(0)
        raise RuntimeError("boom")

with aiomisc.entrypoint(Failing()) as loop:
    loop.run_forever()
"""

COTYLEDON_CRASH = """
import os
import cotyledon

class Failing(cotyledon.Service):
    def run(self):
        print("worker", os.getpid(), flush=True)
        raise RuntimeError("boom")

manager = cotyledon.ServiceManager()
manager.add(Failing)
manager.run()
"""

COTYLEDON_HANG = """
import threading
import cotyledon

class Hanging(cotyledon.Service):
    def run(self):
        print("running", flush=True)
        threading.Event().wait()

    def terminate(self):
        print("terminating", flush=True)
        threading.Event().wait()

manager = cotyledon.ServiceManager(graceful_shutdown_timeout=1)
manager.add(Hanging)
manager.run()
"""


def start(script: str, folder: Path) -> ServiceProcess:
    return ServiceProcess([sys.executable, "-W", "ignore", "-c", script], cwd=folder)


def test_aiomisc_goes_on_after_failure_in_background(tmp_path: Path) -> None:
    with start(AIOMISC, tmp_path) as process:
        process.read_until("RuntimeError: boom")
        assert process.stop(signal.SIGTERM) == 0
        assert "Interrupt signal received" in process.output


def test_cotyledon_starts_a_failed_worker_again(tmp_path: Path) -> None:
    with start(COTYLEDON_CRASH, tmp_path) as process:
        first = process.read_until(r"worker (\d+)")[1]
        assert process.read_until(r"worker (\d+)")[1] != first
        assert process.stop(signal.SIGTERM) == 0


def test_cotyledon_ends_with_0_after_a_hang(tmp_path: Path) -> None:
    with start(COTYLEDON_HANG, tmp_path) as process:
        process.read_until("running")
        assert process.stop(signal.SIGTERM) == 0
        assert "terminating" in process.output
