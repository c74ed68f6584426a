"""What the parent does before there are copies: it opens what they share, and takes the signals."""

from __future__ import annotations

import os
import threading
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any

from sparts.builtin import daemon
from sparts.builtin.listeners import servers_of
from sparts.builtin.processes.child import Plan
from sparts.builtin.processes.parent import SIGNALS, Parent
from sparts.errors import StartError, UsageError
from sparts.inbox import STOP, JobThread, await_ready
from sparts.kernel.lifecycle import LOG_END
from sparts.kernel.runner import ServiceThread
from sparts.system import signals_in_pipe
from sparts.this_process import ExitTimer

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
    instance = service._instance
    kept = SIGNALS if instance.health.owns_process else ()  # they count no more
    found: list[Any] = []  # the plan, or what came in its place
    ended, worker = ServiceThread(service), JobThread(f"{instance.name} lifecycle", found.append)
    with ExitStack() as opened:
        signals, waker = opened.enter_context(signals_in_pipe(SIGNALS, kept))
        worker.start()
        worker.put(lambda: found.append(_prepare(service, folder, opened)))
        worker.put(partial(os.write, waker, b"\0"))
        try:
            stops = _await_preparation(service, signals)
            if isinstance(found[0], BaseException):
                raise found[0]
            if not stops:
                ended.status = Parent(service, found[0], signals, worker.put).run()
        except UsageError:
            raise
        except Exception as error:
            shown = not isinstance(error, StartError) and error
            worker.put(partial(instance.logger.critical, "%s", error, exc_info=shown))
            ended.status, ended.error = 1, error
        finally:
            worker.put(instance.close_logging)
            worker.end()
            ended.hung = not worker.join(LOG_END)
        return ended


def _await_preparation(service: VService, signals: int) -> bool:
    """Wait for the end of the preparation; return whether a stop was asked for meanwhile.

    From then on it may take ``--stop-timeout``. Then a timer ends the process, with all stacks.
    """
    timer, stops, numbers = ExitTimer(), False, b""
    while 0 not in numbers:
        await_ready([signals])
        numbers = os.read(signals, 4096)
        if not stops and any(each in numbers for each in STOP):
            stops, timeout = True, service._instance.settings.stop_timeout
            if timeout and service._instance.health.owns_process:
                timer.arm(timeout)
    timer.disarm()
    return stops


def _prepare(service: VService, folder: str, opened: ExitStack) -> Plan:
    """Make the tasks, none of which will run here, and open what all copies share."""
    service._instance.preprocess_options()
    service._instance.ours.initLogging()
    service._instance.tasks.create(service)
    for task in servers_of(service):
        if task._binds_itself:
            raise UsageError(
                f"{task.name} opens its sockets itself, which several processes cannot: run the "
                f"service without --processes."
            )
    service._instance.hooks.call("sparts_sockets_bind", service=service)
    listeners = service._instance.hooks.kept.get("listeners")
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
