"""The test kit's processes in a clean environment, read from one line of output to the next."""

from __future__ import annotations

import contextlib
import gc
import heapq
import importlib.util
import linecache
import os
import re
import select
import signal
import subprocess
import sys
import threading
import tracemalloc
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from sparts.inbox import SAME
from sparts.testing import processes
from sparts.testing.waiting import WAIT

WITHOUT_LINUX = "tests/without_linux"
"""The folder whose sitecustomize makes Python as it is on macOS."""
# Where os has none, that folder keeps it for tests.
pidfd_open = getattr(sys.modules.get("sitecustomize"), "pidfd_open", None) or os.pidfd_open

STARTED = "All tasks started"
LONG = 600.0
"""Seconds; the time limit of pytest comes before."""


def clean_environment(**variables: str) -> dict[str, str]:
    """Give this process's environment without what would let our checkout shine through."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    if WITHOUT_LINUX in (path := os.environ.get("PYTHONPATH", "")):
        kept["PYTHONPATH"] = path
    kept.pop("VIRTUAL_ENV", None)
    return {**kept, "PYTHONUNBUFFERED": "1", **variables}


class ServiceProcess(processes.ServiceProcess):
    """The kit's, with a place in the output, up to which it has been read."""

    def __init__(
        self, command: Sequence[str], *, cwd: Path, env: Mapping[str, str] | None = None
    ) -> None:
        clean = clean_environment() if env is None else env
        super().__init__(command, cwd=cwd, env=clean, inherit=False)
        self.place = 0
        """How many lines have been read."""

    def read_until(self, pattern: str) -> re.Match[str]:
        """Read lines until one holds the regular expression `pattern`, and give the match."""
        before = self.place
        found = self.wait_for_line(pattern, 1 + self._count(pattern, before), timeout=LONG)
        self.place = 1 + self.lines.index(found.string, before)
        return found

    def _count(self, pattern: str, end: int) -> int:
        return sum(re.search(pattern, line) is not None for line in self.lines[:end])

    def read_until_started(self) -> None:
        """Read until all tasks have started, if nothing read so far has said so already."""
        self.wait_for_line(STARTED, timeout=LONG)

    def finish(self) -> int:
        """Read to the end, wait for the process and give its exit status."""
        return self.wait(LONG)

    def stop(self, number: signal.Signals = signal.SIGINT, timeout: float = LONG) -> int:
        """Send a signal (^C), wait for the end and give the exit status."""
        return super().stop(number, timeout)

    def stop_again(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal once more, when it no longer counts as the same, and wait for the end."""
        threading.Event().wait(SAME)
        return self.stop(number)

    def listening_port(self, task: str = r"\w+") -> int:
        """Read until a server task says where it listens, and give the port."""
        return int(self.read_until(rf"{task} Server Started on \S+:(\d+)")[1])

    def ending(self, *words: str) -> list[str]:
        """Give the lines so far that end with one of these words."""
        return [line for line in self.lines if line.endswith(words)]

    def read_line(self, pattern: str) -> str:
        """Give the line among those read so far that holds the regular expression `pattern`."""
        return self.wait_for_line(pattern, timeout=0.0).string


def await_end(pid: int) -> None:
    """Wait until a process that need not be our child has ended."""
    with contextlib.suppress(ProcessLookupError):
        descriptor = pidfd_open(pid)
        try:
            assert select.select([descriptor], [], [], WAIT)[0], f"{pid} still runs"
        finally:
            os.close(descriptor)


def captured(command: Sequence[Any], **settings: Any) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, and capture what it writes as text; it reads nothing."""
    pipe = subprocess.PIPE
    known = {"stdin": subprocess.DEVNULL, "stdout": pipe, "stderr": pipe, "text": True}
    return subprocess.run(command, **{**known, **settings}, check=False)


def output_of(command: Sequence[Any], **settings: Any) -> str:
    """Run a command that must end with 0, and return what it writes to its standard output."""
    done = captured(command, **settings)
    assert done.returncode == 0, (command, done.stdout, done.stderr)
    return str(done.stdout)


def run_to_end(command: Sequence[str], *, cwd: Path) -> tuple[int, str]:
    """Run a command to its end, and give its exit status and output (both streams)."""
    with ServiceProcess(command, cwd=cwd) as process:
        status = process.finish()
        return status, process.output


def imported(path: Path) -> ModuleType:
    """Import a file that is in no package, such as an example."""
    spec = importlib.util.spec_from_file_location(f"imported_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def resident(pid: int | str = "self", which: str = "VmRSS") -> int:
    """Return the memory of a process, by default this one, in KiB; VmHWM: the most it ever had."""
    gc.collect()
    found = re.search(rf"{which}:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1])


def kept(act: Callable[[], object], rounds: int) -> tuple[dict[str, int], int]:
    """Do something several times, after it was done twice; return what stays in memory.

    That is: the classes of which there are as many objects more as rounds, and bytes a round. What
    counters keep of each second does not count, nor do lines of sources that a warning of a slow
    loop has read to show where it is.
    """
    tracemalloc.start()
    try:
        act(), act(), _objects()
        before = _objects()
        linecache.clearcache()
        held = tracemalloc.get_traced_memory()[0]
        for _ in range(rounds):
            act()
        gc.collect()
        linecache.clearcache()
        more = tracemalloc.get_traced_memory()[0]
        grown = _objects()
    finally:
        tracemalloc.stop()
    grown.subtract(before)
    found = {name: number for name, number in grown.items() if number >= rounds}
    return found, (more - held) // rounds


def _objects() -> Counter[str]:
    gc.collect()
    kinds = Counter(map(type, gc.get_objects()))
    left_out = {"array", "builtins", "collections", "sparts.counters.spans", "weakref"}
    names = {kind: f"{kind.__module__}.{kind.__qualname__}" for kind in kinds}
    return Counter({names[kind]: n for kind, n in kinds.items() if kind.__module__ not in left_out})


def forget_cancelled(loop: Any) -> None:
    """Drop the cancelled timers of asyncio's loop, which keeps up to 100 until they are due."""
    timers = getattr(loop, "_scheduled", [])
    timers[:] = [each for each in timers if not each.cancelled()]
    heapq.heapify(timers)


def idle_switches(pid: int, seconds: float) -> int:
    """Count the context switches of a process in a time that begins when it has come to rest."""
    before = -1
    while before != (before := context_switches(pid)):  # what it does at its start may not be over
        threading.Event().wait(0.05)
    threading.Event().wait(seconds)  # what is measured is what happens in it
    return context_switches(pid) - before


def context_switches(pid: int) -> int:
    """Count how often the threads of a process have been switched off and on."""
    lines = [
        line
        for status in Path(f"/proc/{pid}/task").glob("*/status")
        for line in status.read_text().splitlines()
    ]
    return sum(int(line.split()[1]) for line in lines if "ctxt_switches" in line)
