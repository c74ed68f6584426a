"""What is thrown at the soaked service while its clients work: each a function called in turn."""

from __future__ import annotations

import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dbus_fast import DBusError
from sparts.testing.processes import ServiceProcess

from soak.clients import Away, Http
from soak.on_dbus import NAME, PATH, Caller
from soak.on_thrift import fb303_client
from tests.dbus.daemons import Daemon


@dataclass(frozen=True)
class Fault:
    """A fault: its name, how often it is thrown (seconds between two), and how."""

    name: str
    every: float
    throw: Callable[[int], None]


class Thrower(threading.Thread):
    """Throws one fault over and over until it must stop."""

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


def wait_until(come: Callable[[], bool]) -> None:
    """Look until something has come, for at most half a minute; RuntimeError if it has not."""
    end = time.monotonic() + 30.0
    while not come():
        if time.monotonic() > end:
            raise RuntimeError("it did not come back within 30 s")
        time.sleep(0.05)


def _replaced(instance: dict[str, Any], before: int) -> bool:
    return instance["id"] != before and bool(instance["ready"])


def core_faults(process: ServiceProcess, port: int, config: Path, away: Away) -> list[Fault]:
    """Make the faults that need nothing but the core and HTTP."""

    def reload(number: int) -> None:
        config.write_text(f"[beat]\npause = '{number % 5}ms'\n", encoding="utf-8")
        process.send(signal.SIGHUP)

    def restart(number: int) -> None:
        with Http(port) as web, away:
            before = web.json("POST", "/instance")["result"]["id"]
            web.request("POST", "/restart")
            wait_until(lambda: _replaced(web.json("POST", "/instance")["result"], before))

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
        Fault("restart of the service", 17.0, restart),
    ]


def option_fault(port: int) -> Fault:
    """Make the fault that an option changes, by fb303."""

    def change(number: int) -> None:
        with fb303_client(port) as client:
            client.setOption("beat_pause", f"{number % 7}ms")

    return Fault("option changed over thrift", 0.6, change)


def bus_fault(bus: Daemon, port: int, away: Away) -> Fault:
    """Make the fault that the bus is killed, and another started in its place.

    It is away until the service answers on it and, as its HTTP at ``port`` says, is ready: until
    all its tasks on the bus are back.
    """

    def restart(number: int) -> None:
        with away, Http(port) as web:
            bus.restart()
            wait_until(lambda: _answers(Caller(bus.address)))
            wait_until(lambda: bool(web.json("POST", "/instance")["result"]["ready"]))

    return Fault("restart of the bus", 7.0, restart)


def _answers(caller: Caller) -> bool:
    try:
        return bool(caller.call(PATH, NAME, "Slowly", "s", "again"))
    except (RuntimeError, OSError, EOFError, DBusError):
        return False
