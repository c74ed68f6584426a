"""What the parent does before there are copies: it opens what they share, and takes the signals."""

from __future__ import annotations

import os
import signal
import threading
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from sparts.builtin import daemon
from sparts.builtin.processes.child import Plan
from sparts.builtin.processes.copying import runs_once
from sparts.builtin.processes.parent import SIGNALS, Parent
from sparts.builtin.processes.sharing import Table
from sparts.errors import StartError, UsageError
from sparts.kernel.runner import ServiceThread
from sparts.net.listeners import Listening
from sparts.net.options import ListeningOptions
from sparts.signals import STOP
from sparts.system import nonblocking_pipe

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sparts.vservice import VService


def run_parent(service: VService, folder: str) -> ServiceThread:
    """Run copies of a service until its stop; return how that ended.

    Raises:
        UsageError: the options are wrong, or the service cannot run in several processes.
        StartError: its sockets cannot be opened.
    """
    if threading.current_thread() is not threading.main_thread():
        raise UsageError("--processes needs the main thread, where signals arrive.")
    if not hasattr(os, "memfd_create"):
        raise UsageError("--processes needs Linux: run one process here.")
    with ExitStack() as opened:
        signals = opened.enter_context(_signals(service.health.owns_process))
        service._instance.preprocess_options()
        service.initLogging()
        opened.callback(service._instance.close_logging)
        ended = ServiceThread(service)
        try:
            plan, table = _prepare(service, folder, opened)
            ended.status = Parent(service, plan, table, signals).run()
        except UsageError:
            raise
        except Exception as error:
            service.logger.critical("%s", error, exc_info=not isinstance(error, StartError))
            ended.status, ended.error = 1, error
        return ended


@contextmanager
def _signals(leaves: bool) -> Iterator[int]:
    """Have signals written to a descriptor, which is given; if the process ``leaves`` after it,
    those that ask for its end count no more."""
    reader, writer = nonblocking_pipe()
    before = {each: signal.signal(each, lambda *_: None) for each in SIGNALS}
    wakeup = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    try:
        yield reader
    finally:
        signal.set_wakeup_fd(wakeup)
        for number, handler in before.items():
            if not (leaves and number in STOP):
                signal.signal(number, handler)
        os.close(reader)
        os.close(writer)


def _prepare(service: VService, folder: str, opened: ExitStack) -> tuple[Plan, Table]:
    """Make the tasks, none of which will run here, and open what all copies share."""
    service.tasks.create(service)
    for task in service.getChildren().values():
        runs_once(task)  # says what is wrong with it
        if isinstance(task, ListeningOptions) and not isinstance(task, Listening):
            raise UsageError(
                f"{task.name} opens its sockets itself, which several processes cannot: run the "
                f"service without --processes."
            )
    service.hooks.call("sparts_sockets_bind", service=service)
    listeners = service.hooks.kept.get("listeners")
    listening: list[tuple[str, int]] = []
    if listeners is not None:
        opened.callback(listeners.close)
        daemon.give_files(service)
        listening = listeners.descriptors()
    further: dict[str, int] = {}
    sharing: list[Any] = [
        each for each in service.getChildren().values() if hasattr(each, "open_for_copies")
    ]
    for each in sharing:
        opened.callback(each.close_for_copies)
        for name, sock in each.open_for_copies().items():
            further[f"{each.name}.{name}"] = sock.fileno()
    rows = {name: row for row, name in enumerate(dict.fromkeys(name for name, _ in listening))}
    table = Table(len(rows))
    opened.callback(os.close, table.descriptor)
    return Plan(folder or os.getcwd(), listening, further, table.descriptor, rows, {}), table
