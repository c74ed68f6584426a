"""Whole processes, timed: from their start to being ready, from SIGTERM to their end, and at rest.

A contender is a script that writes to the descriptor in BENCH_FD: the line `ready NANOSECONDS` when
its service is ready, and `ended NANOSECONDS` when its service has ended and only the interpreter's
own exit is to come, both by `time.monotonic_ns()`, one clock for all processes of a machine. So it
does not matter when the one who measures gets to run.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Self

SETTLE = 0.05
"""Seconds between ready and SIGTERM, so that the signal meets a process at rest."""


@dataclass(frozen=True)
class Life:
    """The times of one process, in seconds."""

    ready: float
    """From before its start until it was ready."""
    end: float
    """From SIGTERM until its service had ended."""
    exit: float
    """From SIGTERM until the process was gone, as a blocking wait sees it."""


class Contender:
    """A script that runs as a process; a context manager that leaves nothing running.

    Args:
        script: the script.
        args: its arguments.
        python: the interpreter, that of this process by default.
    """

    def __init__(self, script: Path, *args: str, python: str = sys.executable) -> None:
        read, write = os.pipe()
        self._stamps: BinaryIO = os.fdopen(read, "rb")
        self.began = time.monotonic_ns()
        self.process = subprocess.Popen(
            [python, str(script), *args],
            env={**_environment(), "BENCH_FD": str(write)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=[write],
        )
        os.close(write)

    def read_stamp(self, word: str) -> int:
        """Wait for the stamp `word` and give its nanoseconds; RuntimeError if another comes."""
        line = self._stamps.readline().decode().split()
        if len(line) != 2 or line[0] != word:
            status = self.process.wait()
            raise RuntimeError(f"{self.process.args!r} said {line}, not {word}, status {status}")
        return int(line[1])

    def switches(self) -> int:
        """Count the context switches so far of all threads of the process and its children."""
        return sum(count_switches(pid) for pid in _family(self.process.pid))

    def __enter__(self) -> Self:
        """Give the contender, which runs already."""
        return self

    def __exit__(self, *error: object) -> None:
        """End it, by SIGTERM and without mercy after an error, and wait for it."""
        self.process.send_signal(signal.SIGKILL if error[0] else signal.SIGTERM)
        self.process.wait()
        self._stamps.close()


@contextlib.contextmanager
def on_core(number: int) -> Iterator[None]:
    """Have what is started meanwhile run on one core, if there are two to choose from.

    What the scheduler does with a server and its client differs from run to run by more than
    servers do.
    """
    cores = os.sched_getaffinity(0)
    if len(cores) > 1:
        os.sched_setaffinity(0, {sorted(cores)[number % len(cores)]})
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)


def live_once(script: Path, python: str = sys.executable) -> Life:
    """Run a contender from its start to its end; RuntimeError if it does not end with 0."""
    with Contender(script, python=python) as contender:
        ready = contender.read_stamp("ready")
        time.sleep(SETTLE)
        told = time.monotonic_ns()
        contender.process.send_signal(signal.SIGTERM)
        status = contender.process.wait()
        gone = time.monotonic_ns()
        if status:
            raise RuntimeError(f"{script.name} ended with {status}")
        ended = contender.read_stamp("ended")
    return Life((ready - contender.began) / 1e9, (ended - told) / 1e9, (gone - told) / 1e9)


def wakeups(script: Path, seconds: float, python: str = sys.executable) -> int:
    """Count the context switches of an idle contender, one second after it was ready."""
    with Contender(script, python=python) as contender:
        contender.read_stamp("ready")
        time.sleep(1.0)
        before = contender.switches()
        time.sleep(seconds)
        return contender.switches() - before


def _environment() -> dict[str, str]:
    """Give the environment without Python's own settings: all start alike, and from bytecode."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}


def _family(pid: int) -> list[int]:
    """Give a process and all that descend from it."""
    children = [
        int(child)
        for task in Path(f"/proc/{pid}/task").iterdir()
        for child in (task / "children").read_text().split()
    ]
    return [pid, *(member for child in children for member in _family(child))]


def count_switches(pid: int) -> int:
    """Count the voluntary and involuntary context switches of the threads of one process."""
    lines = [
        line
        for task in Path(f"/proc/{pid}/task").iterdir()
        for line in (task / "status").read_text().splitlines()
    ]
    return sum(int(line.split()[1]) for line in lines if "ctxt_switches:" in line)
