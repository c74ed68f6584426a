"""What the parent does before there are copies: it opens what they share, and takes the signals."""

from __future__ import annotations

import os
import threading
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from sparts.builtin import daemon
from sparts.builtin.processes.child import Plan
from sparts.builtin.processes.parent import SIGNALS, Parent
from sparts.errors import StartError, UsageError
from sparts.kernel.runner import ServiceThread
from sparts.net.listeners import Listening
from sparts.net.options import ListeningOptions
from sparts.signals import STOP
from sparts.system import signals_in_pipe

if TYPE_CHECKING:
    from sparts.vservice import VService


def run_parent(service: VService, folder: str) -> ServiceThread:
    """Run copies of a service until its stop; return how that ended.

    Raises:
        UsageError: the options are wrong, or the service cannot run in several processes.
        StartError: its sockets cannot be opened.
    """
    if threading.current_thread() is not threading.main_thread():
        raise UsageError("--processes needs the main thread, where signals arrive.")
    if not hasattr(os, "pidfd_open"):
        raise UsageError("--processes needs Linux: run one process here.")
    kept = STOP if service.health.owns_process else ()  # those that ask for its end count no more
    with ExitStack() as opened:
        signals = opened.enter_context(signals_in_pipe(SIGNALS, kept))[0]
        service._instance.preprocess_options()
        service.initLogging()
        opened.callback(service._instance.close_logging)
        ended = ServiceThread(service)
        try:
            plan = _prepare(service, folder, opened)
            ended.status = Parent(service, plan, signals).run()
        except UsageError:
            raise
        except Exception as error:
            service.logger.critical("%s", error, exc_info=not isinstance(error, StartError))
            ended.status, ended.error = 1, error
        return ended


def _prepare(service: VService, folder: str, opened: ExitStack) -> Plan:
    """Make the tasks, none of which will run here, and open what all copies share."""
    service.tasks.create(service)
    for task in service.getChildren().values():
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
    each: Any
    for each in service.getChildren().values():
        if hasattr(each, "open_for_copies"):
            opened.callback(each.close_for_copies)
            sockets = each.open_for_copies().items()
            further |= {f"{each.name}.{name}": sock.fileno() for name, sock in sockets}
    return Plan(folder or os.getcwd(), listening, further, {})
