"""What is thrown at the soaked service while its clients work: each a function called in turn."""

from __future__ import annotations

import signal
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sparts.testing.processes import ServiceProcess

from tests.soak.clients import Http


@dataclass(frozen=True)
class Fault:
    """A fault: its name, how often it is thrown (seconds between two), and how."""

    name: str
    every: float
    throw: Callable[[int], None]


class Thrower(threading.Thread):
    """Throws one fault over and over until it is told to stop."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(name=f"fault: {fault.name}", daemon=True)
        self.fault = fault
        self.thrown: Counter[str] = Counter()
        self.problems: list[str] = []
        self._over = threading.Event()

    def run(self) -> None:
        """Throw it."""
        number = 0
        while not self._over.wait(self.fault.every):
            number += 1
            try:
                self.fault.throw(number)
                self.thrown[self.fault.name] += 1
            except Exception as error:
                self.problems.append(f"{self.fault.name}: {type(error).__name__}: {error}")

    def end(self) -> None:
        """Stop, and wait for what is being thrown."""
        self._over.set()
        self.join()


def core_faults(process: ServiceProcess, port: int, config: Path) -> list[Fault]:
    """Make the faults that need nothing but the core and HTTP."""

    def reload(number: int) -> None:
        config.write_text(f"[Beat]\npause = '{number % 5}ms'\n", encoding="utf-8")
        process.send(signal.SIGHUP)

    def ask(path: str) -> Callable[[int], None]:
        def throw(number: int) -> None:
            with Http(port) as web:
                web.request("POST", path)

        return throw

    return [
        Fault("reload with another configuration", 1.3, reload),
        Fault("crash of a restartable worker", 0.7, ask("/fail/Fragile")),
        Fault("crash of a restartable coroutine", 0.9, ask("/fail/Stream")),
        Fault("stacks asked for", 5.0, lambda number: process.send(signal.SIGUSR1)),
        Fault("restart of the service", 17.0, ask("/restart")),
    ]
