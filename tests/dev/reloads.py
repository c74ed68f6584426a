"""A service under ``--reload`` whose source the tests change."""

from __future__ import annotations

import socket
import sys
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from sparts.testing import ServiceProcess

from tests.threads import in_threads

CODE = """
import asyncio, subprocess, sys
from sparts.tasks.asyncio_server import AsyncioServerTask
from sparts.vservice import VService
from version import VERSION


class Line(asyncio.Protocol):
    def connection_made(self, transport):
        transport.write(f"{VERSION}\\n".encode())
        transport.close()


class Server(AsyncioServerTask):
    OPT_PREFIX = "line"

    def make_protocol(self):
        return Line()


class Service(VService):
    TASKS = [Server]


if __name__ == "__main__":
    Service.initFromCLI()
"""
SPARTS = str(Path(sys.executable).with_name("sparts"))
SCRIPT = (sys.executable, "service.py", "--reload")
WAYS = {
    "script": SCRIPT,
    "run": (SPARTS, "run", "--reload", "service:Service"),
    "file": (SPARTS, "run", "--reload", "service.py"),
}


class Reloaded(ServiceProcess):
    """A process whose code can be changed.

    Args:
        folder: where the code is.
        words: what runs it.
        options: further words.
        code: what is in it.
    """

    def __init__(
        self,
        folder: Path,
        *options: str,
        words: Sequence[str] = SCRIPT,
        code: str = CODE,
    ) -> None:
        self.folder, self.version = folder, 0
        (folder / "service.py").write_text(code)
        self.write()
        super().__init__([*words, *options], cwd=folder)

    def write(self, text: str = "") -> str:
        """Change the module that has the version: to the next one, or to a given text."""
        self.version += not text
        (self.folder / "version.py").write_text(text or f"VERSION = 'version {self.version}'\n")
        return f"version {self.version}"

    def started(self, count: int = 1) -> int:
        """Wait until it has started so often, and return its port."""
        return int(self.wait_for_line(r"Server Started on \S+:(\d+)$", count)[1])


def ask(port: int) -> str:
    """Return the version that the server says."""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        return connection.makefile().readline().strip()


@contextmanager
def asking(port: int) -> Iterator[tuple[Counter[str], list[str]]]:
    """Ask for the version again and again, by a new connection each time, while the block runs.

    Give how often each was said, and what failed.
    """
    heard: Counter[str] = Counter()
    failed: list[str] = []
    over = threading.Event()

    def ask_on() -> None:
        while not over.is_set():
            try:
                heard[ask(port) or "nothing"] += 1
            except OSError as error:
                failed.append(str(error))

    with in_threads(ask_on):
        try:
            yield heard, failed
        finally:
            over.set()
