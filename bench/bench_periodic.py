"""A thousand PeriodicTasks of one second in one service: how late they are, and what they cost."""

from __future__ import annotations

import threading
import time
from typing import ClassVar

from sparts.clock import SYSTEM, Clock
from sparts.tasks.periodic import ExecuteContext, PeriodicTask
from sparts.tasks.schedules import Every
from sparts.vservice import VService

from bench.harness import Report
from bench.measure import rounds_wanted

TASKS = 1000
SECONDS = 3.0


class Tick(PeriodicTask):
    """Notes how late each run is, in milliseconds, while that is measured."""

    INTERVAL = 1.0
    late: ClassVar[list[float]] = []
    noting: ClassVar[list[bool]] = []

    def execute(self, context: ExecuteContext | None = None) -> None:
        """Compare with the time of this run: one interval before that of the next."""
        if not self.noting:
            return
        now, schedule = time.monotonic(), self._runs.workers[0].schedule
        assert isinstance(schedule, Every)
        self.late.append((now - (schedule.due() - schedule.interval)) * 1000)


def shares_of_core(rounds: int) -> list[float]:
    """Give the share of one core that this process uses, in %, for each round."""
    shares = []
    for _ in range(rounds):
        wall, used = time.monotonic(), time.process_time()
        time.sleep(SECONDS)
        shares.append((time.process_time() - used) / (time.monotonic() - wall) * 100)
    return shares


def percentiles_of(late: list[float], rounds: int) -> list[float]:
    """Give the 99th percentile of what comes into the list, for each round."""
    percentiles = []
    for _ in range(rounds):
        late.clear()
        time.sleep(SECONDS)
        found = sorted(late)
        percentiles.append(found[len(found) * 99 // 100])
    return percentiles


class Bare:
    """As many threads that do nothing but wait a second: what no implementation can go below."""

    def __init__(self) -> None:
        """Start the threads."""
        self.late: list[float] = []
        self.stopped = threading.Event()
        self.clock: Clock = SYSTEM
        self.threads = [threading.Thread(target=self.run) for _ in range(TASKS)]
        for thread in self.threads:
            thread.start()

    def run(self) -> None:
        """Wait for one time after the other."""
        condition, due = threading.Condition(), self.clock.monotonic()
        while not self.stopped.is_set():
            due += 1
            with condition:
                condition.wait(due - self.clock.monotonic())
            self.late.append((self.clock.monotonic() - due) * 1000)

    def stop(self) -> None:
        """End the threads."""
        self.stopped.set()
        for thread in self.threads:
            thread.join()


def main() -> None:
    """Measure the service and the bare threads, one after the other."""
    rounds = rounds_wanted(5)
    tasks = [type(f"Tick{number}", (Tick,), {}) for number in range(TASKS)]
    service_type = type("Service", (VService,), {"TASKS": tasks})
    assert issubclass(service_type, VService)
    with Report("periodic") as report:
        bare = Bare()
        time.sleep(SECONDS)
        bare_share, bare_late = shares_of_core(rounds), percentiles_of(bare.late, rounds)
        bare.stop()
        service = service_type.from_args(["--level", "WARNING"])
        thread = service.startBG()
        time.sleep(SECONDS)
        share = shares_of_core(rounds)
        Tick.noting.append(True)
        late = percentiles_of(Tick.late, rounds)
        service.shutdown()
        thread.join()
        report.value("1,000 PeriodicTasks of 1 s, late at p99", late, unit="ms", at_most=20)
        report.value(
            "1,000 PeriodicTasks of 1 s, of one core", share, unit="%", at_most=5,
            why="It is absolute, so it depends on the machine too; bare threads are beside it.",
        )  # fmt: skip
        report.value("1,000 bare threads, late at p99", bare_late, unit="ms")
        report.value("1,000 bare threads, of one core", bare_share, unit="%")


if __name__ == "__main__":
    main()
