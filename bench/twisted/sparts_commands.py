"""The same with CommandTask, from another thread; prints the seconds to the last end."""

from __future__ import annotations

import sys
import threading
from time import perf_counter
from typing import Any

from sparts.tasks.twisted_command import CommandTask
from sparts.testing.running import running, service_of


def run(count: int) -> float:
    """Run all, and return the seconds until the last end was reported."""
    left, ended = [count], threading.Event()

    def end(_: Any) -> None:
        left[0] -= 1
        if not left[0]:
            ended.set()

    with running(service_of(CommandTask), "--level", "WARNING") as service:
        task = service.requireTask(CommandTask)
        began = perf_counter()
        for _ in range(count):
            task.run(["/bin/true"], on_exit=end)
        ended.wait()
        return perf_counter() - began


if __name__ == "__main__":
    sys.stdout.write(f"{run(int(sys.argv[1]))}\n")
