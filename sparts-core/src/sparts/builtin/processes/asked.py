"""The options of the built-in plugin `processes`, and how a process knows that it is a copy."""

from __future__ import annotations

import os

from sparts.builtin.declaring import ProcessOptions, fixed
from sparts.option_types import duration
from sparts.options import Option

VARIABLE = "SPARTS_COPY"
"""The environment variable by which the parent tells a process that it is a copy, and of what."""
MOST = 256
"""How many copies there may be."""


def count(text: str) -> int:
    """A number of copies, or ``auto``: one for each CPU that this process may use."""
    number = usable_cpus() if text == "auto" else int(text)
    if not 1 <= number <= MOST:
        raise ValueError(f"must be from 1 to {MOST}")
    return number


def usable_cpus() -> int:
    """Return how many CPUs this process may use: its affinity, and the limit of its container."""
    affinity = getattr(os, "sched_getaffinity", None)  # macOS has none
    found = len(affinity(0)) if affinity else os.cpu_count() or 1
    try:
        with open("/sys/fs/cgroup/cpu.max", encoding="ascii") as file:
            quota, period = file.read().split()
        return max(1, min(found, -(-int(quota) // int(period))))
    except (OSError, ValueError):  # no container, or no limit ("max")
        return found


class Processes(ProcessOptions):
    """Options of `processes`."""

    processes: Option[int] = fixed(
        type=count,
        metavar="N",
        help="run N copies of the service behind the same sockets (auto: one for each CPU); SIGHUP "
        "replaces them one after the other",
    )
    processes_watchdog: Option[float] = fixed(
        type=duration,
        default=60.0,
        metavar="DURATION",
        help="replace a copy that has not shown for this long that it works; 0: never",
    )
