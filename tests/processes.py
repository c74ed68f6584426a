"""Services as real processes: their log is read as it comes, never looked for in steps."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from sparts.kernel.signals import SAME

STARTED = "All tasks started"


def clean_environment(**variables: str) -> dict[str, str]:
    """Give this process's environment without what would let our checkout shine through."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    kept.pop("VIRTUAL_ENV", None)
    return {**kept, "PYTHONUNBUFFERED": "1", **variables}


class ServiceProcess:
    """A service that runs as a process; a context manager that leaves no process behind.

    Its standard output and error come together, in `lines`. Who waits for a line that never comes
    gets all that came, when the process ends (or pytest's time limit ends the wait).
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        cwd: Path,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.lines: list[str] = []
        self.process = subprocess.Popen(
            command,
            cwd=cwd,
            env=dict(env) if env is not None else clean_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def read_until(self, pattern: str) -> re.Match[str]:
        """Read lines until one holds the regular expression `pattern`, and give the match."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))
            if found := re.search(pattern, line):
                return found
        status = self.process.wait()
        raise AssertionError(f"ended with {status} before it said {pattern!r}:\n{self.output}")

    def read_until_started(self) -> None:
        """Read until all tasks have started, if nothing read so far has said so already."""
        if not any(STARTED in line for line in self.lines):
            self.read_until(STARTED)

    def finish(self) -> int:
        """Read to the end, wait for the process and give its exit status."""
        assert self.process.stdout is not None
        self.lines += [line.rstrip("\n") for line in self.process.stdout]
        return self.process.wait()

    def stop(self, number: signal.Signals = signal.SIGINT) -> int:
        """Send a signal (^C), wait for the end and give the exit status."""
        self.process.send_signal(number)
        return self.finish()

    def stop_again(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal once more, when it no longer counts as the same, and wait for the end."""
        threading.Event().wait(SAME)
        return self.stop(number)

    def listening_port(self, task: str = r"\w+") -> int:
        """Read until a server task says where it listens, and give the port."""
        return int(self.read_until(rf"{task} Server Started on \S+:(\d+)")[1])

    def read_line(self, pattern: str) -> str:
        """Give the line among those read so far that holds the regular expression `pattern`."""
        found = [line for line in self.lines if re.search(pattern, line)]
        assert found, f"no line holds {pattern!r}:\n{self.output}"
        return found[0]

    @property
    def output(self) -> str:
        """Everything read so far."""
        return "\n".join(self.lines)

    def __enter__(self) -> Self:
        """Give the process, already running."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Kill it if it still runs."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()


def run_to_end(command: Sequence[str], *, cwd: Path) -> tuple[int, str]:
    """Run a command to its end, and give its exit status and output (both streams)."""
    with ServiceProcess(command, cwd=cwd) as process:
        status = process.finish()
        return status, process.output
