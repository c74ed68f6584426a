"""Services with many tasks: how start and stop grow, and how ten tasks at rest end and sleep."""

from __future__ import annotations

import logging
import time
from functools import partial
from pathlib import Path

from sparts.testing.running import make_service
from sparts.vservice import VService
from sparts.vtask import VTask

from bench.harness import Report, interleave
from bench.processes import live_once, wakeups

TEN = Path(__file__).with_name("lifecycle") / "ten_tasks.py"
IDLE = 10.0


def make_class(tasks: int) -> type[VService]:
    """Give a service of so many tasks with a thread each, in pairs that depend on each other."""
    made: list[type[VTask]] = []
    for number in range(tasks):
        body = {
            "_runloop": lambda self: self.stop_event.wait(),
            "DEPS": made[-1:] if number % 2 else [],
        }
        made.append(type(f"Task{number}", (VTask,), body))
    return type("Service", (VService,), {"TASKS": made})


def run_once(service_class: type[VService]) -> tuple[float, float]:
    """Start and stop a service, and give the seconds a task that each took."""
    service = make_service(service_class, "--level", "WARNING")
    tasks = len(service.tasks)
    began = time.perf_counter()
    thread = service.startBG()
    started = time.perf_counter()
    service.shutdown()
    thread.join()
    ended = time.perf_counter()
    return (started - began) / tasks, (ended - started) / tasks


def measure_growth(report: Report) -> None:
    """Compare the time a task in services of 10, 100 and 1,000."""
    contenders = {size: partial(run_once, make_class(size)) for size in (10, 100, 1000)}
    found = interleave({str(size): run for size, run in contenders.items()}, rounds=11, warmup=2)
    for what, index in (("start", 0), ("stop", 1)):
        times = {size: [pair[index] for pair in pairs] for size, pairs in found.items()}
        for small, large in (("10", "100"), ("100", "1000")):
            label = f"{what}, time a task in a service of {large} tasks"
            report.ratio(label, times[large], times[small], peer=f"of {small}", at_most=1.2)


def measure_ten(report: Report) -> None:
    """Measure the end and the sleep of ten idle tasks of different types."""
    lives = interleave({"ten": partial(live_once, TEN)}, rounds=15, warmup=2)["ten"]
    ends = [life.end * 1e3 for life in lives]
    report.value("SIGTERM to the end of a service of ten idle tasks", ends, unit="ms", at_most=10.0)
    label = f"wake-ups of ten idle tasks in {IDLE:g} s"
    report.value(label, [wakeups(TEN, IDLE)], unit="switches", at_most=0)


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    with Report("tasks") as report:
        measure_growth(report)
        measure_ten(report)
