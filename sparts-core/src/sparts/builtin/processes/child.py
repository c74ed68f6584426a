"""One copy as the parent sees it: how it is started, and what becomes of it."""

from __future__ import annotations

import enum
import json
import os
import signal
import socket
import sys
from contextlib import suppress
from time import monotonic, time
from typing import TYPE_CHECKING, Any, NamedTuple

from sparts.builtin.processes.asked import VARIABLE
from sparts.builtin.processes.channel import ParentEnd
from sparts.system import FIRST, spawn

if TYPE_CHECKING:
    from collections.abc import Mapping

_NOT_PASSED_ON = (
    *("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PIDFDID"),
    *("NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC"),
)


class State(enum.StrEnum):
    """Where a copy is in its life."""

    STARTING = "STARTING"
    READY = "READY"
    STOPPING = "STOPPING"


class Plan(NamedTuple):
    """How each copy is started."""

    folder: str
    """The folder that the parent was started in."""
    listening: list[tuple[str, int]]
    """The listening sockets, by the names of their tasks."""
    further: Mapping[str, int]
    """Other descriptors that copies share, by name."""
    variables: Mapping[str, str]
    """Further environment variables."""


class Child:
    """A copy that was started.

    Args:
        plan: how.
        number: which of the copies it is.
        first: whether it begins with the tasks that one copy alone runs.

    Raises:
        OSError: the system starts no more processes.
    """

    def __init__(self, plan: Plan, number: int, first: bool) -> None:
        self.number: int = number
        self.first: bool = first
        self.state: State = State.STARTING
        self.since: float = time()
        """When it entered this state, in seconds since the epoch."""
        self.asked = False
        """Whether the parent asked for its end."""
        self.deadline: float | None = None
        """When it is killed if it has not got on, by `time.monotonic`."""
        self.heard: float = monotonic()
        self.began: float = self.heard
        """When it entered its state, and when its watchdog was last fed, by `time.monotonic`."""
        self.connections: dict[str, int | None] = {}
        """How many it says that its server tasks have; replaced when that changes."""
        self.knows: dict[str, Any] = {}
        """What the parent has sent to it of all copies."""
        self.late = False
        """Whether it was killed, because it took too long."""
        ours, theirs = socket.socketpair()
        try:
            self.pid: int = _spawn(plan, self, theirs)
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        self.pidfd: int = os.pidfd_open(self.pid)
        self.channel: ParentEnd = ParentEnd(ours)

    def __str__(self) -> str:
        return f"Copy {self.number} (pid {self.pid})"

    def enter(self, state: State) -> None:
        """Note that it is in another state."""
        self.state, self.since, self.began, self.deadline = state, time(), monotonic(), None

    def send(self, number: int) -> None:
        """Send a signal."""
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.pidfd, number)

    def reap(self) -> int:
        """Let go of it when it has ended; return its exit status (negative: a signal's number)."""
        status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        os.close(self.pidfd)
        self.channel.close()
        return status

    def told(self) -> dict[str, Any]:
        """Return what is shown of it."""
        told = {"number": self.number, "pid": self.pid, "state": str(self.state)}
        return {**told, "since": self.since, "first": self.first}


def _spawn(plan: Plan, child: Child, channel: socket.socket) -> int:
    """Start the command line that this process has, in the folder where it was started."""
    at = FIRST + len(plan.listening)
    further = {"channel": channel.fileno(), **plan.further}
    numbers = {name: at + index for index, name in enumerate(further)}
    told = {
        "channel": numbers.pop("channel"), "inode": os.fstat(channel.fileno()).st_ino,
        "sockets": numbers, "number": child.number, "first": child.first, "parent": os.getpid(),
    }  # fmt: skip
    variables = {key: each for key, each in os.environ.items() if key not in _NOT_PASSED_ON}
    variables |= {**plan.variables, VARIABLE: json.dumps(told)}
    here = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.chdir(plan.folder)
        words = [sys.executable, *sys.orig_argv[1:]]
        return spawn(words, variables, plan.listening, further.values())
    finally:
        os.fchdir(here)
        os.close(here)
