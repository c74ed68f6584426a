"""Services of a test's own, run as real processes."""

from __future__ import annotations

import re
import signal
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from textwrap import dedent
from typing import Any

from tests.processes import ServiceProcess, clean_environment

HEAD = """
import os, signal, sys, threading, time
from sparts.hookspecs import hookimpl
from sparts.vservice import VService
from sparts.vtask import VTask, SkipTask

# As in a terminal, also where the tests run with ^C ignored (a job in the background).
signal.signal(signal.SIGINT, signal.default_int_handler)

def say(*words):
    sys.stdout.write(" ".join(map(str, words)) + "\\n")  # one write: lines stay whole
    sys.stdout.flush()

class Idle(VTask):
    LOOPLESS = True
    def initTask(self):
        say(self.name, "init")
    def start(self):
        say(self.name, "start")
        super().start()
    def stop(self):
        say(self.name, "stop")
        super().stop()
    def join(self):
        super().join()
        say(self.name, "joined")

class Needed(Idle):
    pass

class Ready:
    def __init__(self, service):
        self.service = service
    @hookimpl
    def sparts_service_ready(self, ready):
        if ready:
            self.service.when_ready()

class Plugged(VService):
    def initService(self):
        self.hooks.register(Plugin(), "the plugin")

class ActsWhenReady(VService):
    def initService(self):
        self.hooks.register(Ready(self))

class Worker(VTask):
    def _runloop(self):
        self.stop_event.wait()

stopping = threading.Event()

class TellsOfItsStop(VService):
    def __init__(self, ns):
        super().__init__(ns)
        record = self.health.record_status
        def record_status(phase=None):
            record(phase)
            if phase == "STOPPING":
                stopping.set()
        self.health.record_status = record_status
"""
PLAIN = "class S(VService): pass"


def service(
    folder: Path,
    body: str,
    *argv: str,
    python: Sequence[str] = (sys.executable,),
    **variables: str,
) -> ServiceProcess:
    """Run a service that is written out: ``body`` after `HEAD`, then ``S.initFromCLI()``.

    Where the body has no ``S``, that is a service of its ``TASKS``, or else of its last class.
    """
    path = script_of(folder, body)
    return ServiceProcess(
        [*python, str(path), *argv], cwd=folder, env=clean_environment(**variables)
    )


def ended(folder: Path, body: str, *argv: str, status: int, **more: Any) -> ServiceProcess:
    """Run `service` to its end, which has this exit status."""
    with service(folder, body, *argv, **more) as process:
        assert process.finish() == status, process.output
    return process


def stopped(
    folder: Path,
    body: str,
    *argv: str,
    status: int,
    until: str = "",
    number: signal.Signals = signal.SIGINT,
    **more: Any,
) -> ServiceProcess:
    """Run `service` until all tasks have started, or until a line, and stop it by a signal (^C)."""
    with service(folder, body, *argv, **more) as process:
        process.read_until(until) if until else process.read_until_started()
        assert process.stop(number) == status, process.output
    return process


def hung(folder: Path, body: str, **how: Any) -> ServiceProcess:
    """Stop, as `stopped` does by SIGTERM, a service that cannot end within its short time."""
    how.setdefault("number", signal.SIGTERM)
    return stopped(folder, body, "--stop-timeout", "200ms", status=70, **how)


class Manager:
    """What systemd reads of a service.

    Args:
        address: where the service writes to it.
    """

    def __init__(self, address: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(address)

    def read_until(self, wanted: str) -> list[str]:
        """Read messages up to this one, and give them."""
        told: list[str] = []
        while wanted not in told:
            told.append(self.socket.recv(65536).decode())
        return told


@contextmanager
def managed(
    folder: Path, body: str, address: str = "", **variables: str
) -> Iterator[tuple[ServiceProcess, Manager]]:
    """Run `service` as systemd does, at an address or at the path of a file in the folder."""
    address = address or str(folder / "notify")
    manager, name = Manager(address), address.replace("\0", "@")
    with manager.socket, service(folder, body, NOTIFY_SOCKET=name, **variables) as process:
        yield process, manager


def script_of(folder: Path, body: str, head: str = HEAD) -> Path:
    """Write a service out, as `service` runs it, and return the path of its file."""
    path, body = folder / "service.py", dedent(body)
    if "class S(" not in body:
        if not re.search("^TASKS =", body, re.MULTILINE):
            last = re.findall(r"^class (\w+)", body, re.MULTILINE)[-1]
            body += f"TASKS = [{last}]\n"
        body += "\nclass S(VService):\n    TASKS = TASKS\n"
    path.write_text(f"{head}\n{body}\n\nS.initFromCLI()\n")
    return path
