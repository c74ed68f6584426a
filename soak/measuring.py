"""What the soaked process needs of the system, measured from outside."""

from __future__ import annotations

import re
import statistics
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Sample:
    """One look at the process."""

    memory: float
    """MiB of resident memory."""
    descriptors: int
    threads: int


def look(pid: int) -> Sample:
    """Look at a process."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    numbers = dict(re.findall(r"^(VmRSS|Threads):\s+(\d+)", status, re.MULTILINE))
    descriptors = len(list(Path(f"/proc/{pid}/fd").iterdir()))
    return Sample(int(numbers["VmRSS"]) / 1024, descriptors, int(numbers["Threads"]))


class Sampler(threading.Thread):
    """Looks at a process once a second until it must stop."""

    def __init__(self, pid: int) -> None:
        super().__init__(name="sampler", daemon=True)
        self.samples: list[Sample] = []
        self._pid = pid
        self._over = threading.Event()

    def run(self) -> None:
        """Look."""
        while not self._over.wait(1.0):
            self.samples.append(look(self._pid))

    def end(self) -> None:
        """Stop looking."""
        self._over.set()
        self.join()


LIMITS: dict[str, tuple[Callable[[Sample], float], float, float]] = {
    "memory (MiB)": (lambda sample: sample.memory, 0.05, 4.0),
    "descriptors": (lambda sample: sample.descriptors, 0.05, 5.0),
    "threads": (lambda sample: sample.threads, 0.05, 3.0),
}
"""What is to stay flat: how it is read, and by which share and number its median may grow from the
second quarter of the time to the last."""


def growth(samples: Sequence[Sample]) -> dict[str, tuple[float, float, bool]]:
    """Give for each of `LIMITS` its medians early and late, and whether it stayed flat."""
    quarter = len(samples) // 4
    found = {}
    for name, (read, share, number) in LIMITS.items():
        early = statistics.median(map(read, samples[quarter : 2 * quarter]))
        late = statistics.median(map(read, samples[-quarter:]))
        found[name] = (early, late, late - early <= max(number, share * early))
    return found
