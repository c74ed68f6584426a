"""Worker processes that are killed, stopped and started again, and what they have done."""

from __future__ import annotations

import collections
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]


class Crew:
    """Some worker processes of one queue.

    Args:
        folder: where they note what they have done, and log.
        url: the broker.
        queue: the queue's name.
        kind: ``threads`` or ``async``.
    """

    def __init__(self, folder: Path, url: str, queue: str, kind: str = "threads") -> None:
        self.folder = folder
        self.url = url
        self.queue = queue
        self.kind = kind
        self.members: list[subprocess.Popen[bytes]] = []
        self.kills = 0

    def hire(self, number: int = 1, *words: str) -> None:
        """Start workers."""
        for _ in range(number):
            with open(self.folder / "log", "ab") as log:
                self.members.append(
                    subprocess.Popen(
                        [sys.executable, "-m", "tests.amqp.worker", str(self.folder), self.kind,
                         "--level", "INFO", "--worker-broker", self.url, *words],
                        cwd=ROOT,
                        env={**os.environ, "QUEUE": self.queue},
                        stdin=subprocess.DEVNULL,
                        stdout=log,
                        stderr=log,
                    )
                )  # fmt: skip

    def end_one(self, number: signal.Signals) -> subprocess.Popen[bytes]:
        """Send a worker a signal, and forget it."""
        member = self.members.pop(0)
        member.send_signal(number)
        self.kills += number == signal.SIGKILL
        return member

    def replace_one(self, number: signal.Signals) -> int:
        """End a worker, start another, and return how the first has ended."""
        member = self.end_one(number)
        self.hire()
        return member.wait(60)

    def done(self) -> collections.Counter[str]:
        """How often each item was done."""
        found: collections.Counter[str] = collections.Counter()
        for path in self.folder.glob("done.*"):
            found.update(path.read_text().splitlines())
        return found

    def log(self) -> str:
        """What the workers have logged."""
        path = self.folder / "log"
        return path.read_text(errors="replace") if path.exists() else ""


@contextlib.contextmanager
def crew_of(
    folder: Path, url: str, queue: str, kind: str = "threads", number: int = 0
) -> Iterator[Crew]:
    """Give some workers, which are all ended in the end."""
    crew = Crew(folder, url, queue, kind)
    try:
        crew.hire(number)
        yield crew
    finally:
        for member in crew.members:
            member.kill()
        for member in crew.members:
            member.wait()
