"""A service that runs as several processes, and what a test asks of them."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Self

from sparts.testing.processes import ServiceProcess

from tests.core.scripts import script_of
from tests.processes import await_end

HEAD = """
import asyncio, os, signal, sys, threading, time
from sparts.errors import UsageError
from sparts.tasks.asyncio_server import AsyncioServerTask
from sparts.vservice import VService
from sparts.vtask import VTask

class Pid(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport
        transport.write(b"%d\\n" % os.getpid())
    def drain(self):
        self.transport.close()

class Web(AsyncioServerTask):
    OPT_PREFIX = "web"
    DEFAULT_HOST = "127.0.0.1"
    DEFAULT_PORT = 0
    def make_protocol(self):
        return Pid()

class Worker(VTask):
    def _runloop(self):
        self.stop_event.wait()

class Once(Worker):
    PROCESSES = "first"
    def _runloop(self):
        self.logger.info("once in %d", os.getpid())
        super()._runloop()

class Broken(Worker):
    def initTask(self):
        if os.path.exists("broken"):
            raise ValueError("it is broken")

class Idle(VTask):
    LOOPLESS = True
"""
PLAIN = "TASKS = [Web, Once]"


class Copies(ServiceProcess):
    """The parent of copies as a process; a context manager that leaves nothing behind.

    Args:
        folder: where the script is written, and run.
        body: the service, as `script_of` takes it.
        argv: the command line.
        variables: of the environment.
    """

    def __init__(self, folder: Path, body: str = PLAIN, *argv: str, **variables: str) -> None:
        path = script_of(folder, body, HEAD)
        words = argv or ("--processes", "2")
        super().__init__([sys.executable, str(path), *words], cwd=folder, env=variables)

    @property
    def pids(self) -> list[int]:
        """The copies that live."""
        return children_of(self.pid)

    def wait_replaced(self, count: int = 1) -> None:
        """Wait until all copies have been replaced so often."""
        self.wait_for_line("All copies are replaced", count)

    @property
    def port(self) -> int:
        """Where the copies listen."""
        return self.wait_for_port("Web")

    def ask(self) -> int:
        """Connect, and return the number of the process that answers."""
        with socket.create_connection(("127.0.0.1", self.port)) as connection:
            return int(connection.makefile().readline())

    def ready_pid(self, number: int, count: int = 1) -> int:
        """Wait until the copy of a number is ready for the ``count``-th time; return its pid."""
        return int(self.wait_for_line(rf"Copy {number} \(pid (\d+)\) is ready", count)[1])

    def wait_gone(self, *pids: int) -> None:
        """Wait until processes have ended."""
        for pid in pids:
            await_end(pid)

    def close(self) -> None:
        """Kill the parent and its copies, if they still run."""
        pids = self.pids
        super().close()
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def __enter__(self) -> Self:
        return self


@contextlib.contextmanager
def ready(folder: Path, body: str = PLAIN, *argv: str, **variables: str) -> Iterator[Copies]:
    """Run `Copies`, from when all of them are ready."""
    with Copies(folder, body, *argv, **variables) as service:
        service.wait_ready()
        yield service


def children_of(pid: int) -> list[int]:
    """Return the processes that one has started, and that live."""
    with contextlib.suppress(OSError):
        found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return [child for child in map(int, found) if _lives(child)]
    return []


def _lives(pid: int) -> bool:
    """Whether a process has not ended, nor waits to be reaped."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
