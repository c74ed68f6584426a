"""Copies as the parent sees them: how one is started, what becomes of it, and when it is again."""

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

from sparts.builtin import COPY_VARIABLE
from sparts.builtin.processes.channel import ParentEnd
from sparts.system import FIRST, spawn

if TYPE_CHECKING:
    from collections.abc import Mapping

_NOT_PASSED_ON = (
    *("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PIDFDID"),
    *("NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC"),
)


STEADY = 60.0
"""Seconds after which a copy that ends is not taken for one of a crash loop."""
LONGEST_DELAY = 30.0
"""Seconds; the most that lies between two starts of a copy that does not last."""


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
            self.pidfd: int = os.pidfd_open(self.pid)
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
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
    variables |= {**plan.variables, COPY_VARIABLE: json.dumps(told)}
    here = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.chdir(plan.folder)
        words = [sys.executable, *sys.orig_argv[1:]]
        return spawn(words, variables, plan.listening, further.values())
    finally:
        os.fchdir(here)
        os.close(here)


class Again:
    """The starts to come of copies that have failed, by their numbers."""

    def __init__(self) -> None:
        self.failures: dict[int, int] = {}
        """How often a copy has failed in a row."""
        self.due: dict[int, float] = {}
        """When it is started again, by `time.monotonic`."""

    def failed(self, child: Child) -> float:
        """Note that a copy did not last; return the seconds until the next start."""
        lasted = child.state is State.READY and monotonic() - child.began >= STEADY
        before = 0 if lasted else self.failures.get(child.number, 0)
        self.failures[child.number] = before + 1
        delay = min(LONGEST_DELAY, 2.0 ** (before - 2)) if before else 0.0
        self.due[child.number] = monotonic() + delay
        return delay

    def forget_due(self) -> None:
        """Forget the starts that are due now."""
        now = monotonic()
        self.due = {number: when for number, when in self.due.items() if when > now}

    def warnings(self) -> list[str]:
        """Return what there is to say of copies that fail again and again."""
        found = sorted(self.failures.items())
        return [f"Copy {number} has failed {n} times in a row" for number, n in found if n > 1]

    def told(self) -> dict[str, Any]:
        """Return what is shown of copies that fail again and again."""
        now = monotonic()
        return {
            "failures": {number: each for number, each in self.failures.items() if each > 1},
            "starts_again_in": {number: max(0.0, due - now) for number, due in self.due.items()},
        }
