"""Runs a service, one instance after the other, in a thread or as the process."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING

from sparts.lifecycle import EXIT_CLEAN, EXIT_FAILURE, Lifecycle, Message, Outcome
from sparts.signals import SignalHandlers

if TYPE_CHECKING:
    import signal

    from sparts.vservice import VService


class ServiceThread(threading.Thread):
    """The thread of a service that runs in the background; `join` raises what ended it badly.

    Args:
        service: a new instance.
        guard: whether the process belongs to the service.
    """

    def __init__(self, service: VService, guard: bool = False) -> None:
        super().__init__(name=f"{service.name} supervisor")
        self.service = service
        """The instance that runs now; a restart makes a new one."""
        self.status = EXIT_CLEAN
        """The exit status that the end of the service asks for."""
        self.error: BaseException | None = None
        """What ended the service otherwise than in order."""
        self.hung = False
        """Whether something did not end in time and was left behind."""
        self._guard = guard
        self._succeeded = False
        self._settled = threading.Event()

    def run(self) -> None:
        """Run instances until one ends that is not to be restarted."""
        try:
            while self._run_instance().restart:
                self.service = self.service.successor()
        except BaseException as error:
            self.status, self.error = self.status or EXIT_FAILURE, error
            self.service.finish(error)
        finally:
            self.service.listeners.close()
            self._settled.set()

    def _run_instance(self) -> Outcome:
        service = self.service
        service.preprocessOptions()
        service.initLogging()
        outcome = Lifecycle(service, self._guard, self._start_succeeded).run()
        self.status, self.error, self.hung = outcome.status, outcome.error, outcome.hung
        service.finish(outcome.error)
        return outcome

    def _start_succeeded(self) -> None:
        self._succeeded = True
        self._settled.set()

    def wait_started(self) -> None:
        """Wait until every task has started.

        Raises:
            SpartsError: the start failed.
        """
        self._settled.wait()
        if not self._succeeded:
            self.join()

    def join(self, timeout: float | None = None) -> None:
        """Wait until the service has ended, or ``timeout`` seconds; see `is_alive`.

        Raises:
            SpartsError: it ended otherwise than in order.
        """
        super().join(timeout)
        if not self.is_alive() and self.error is not None:
            raise self.error


def run_in_this_thread(service: VService, guard: bool) -> ServiceThread:
    """Run a service in the current thread until it ends; return how it ended.

    In the main thread, signals are handled unless the service leaves them to the application.

    Args:
        service: a new instance.
        guard: whether the process belongs to the service.
    """
    inbox = service.inbox

    def put(number: signal.Signals) -> None:
        inbox.put(Message("signal", None, number))

    runner = ServiceThread(service, guard)
    main = threading.current_thread() is threading.main_thread()
    handlers = main and service.REGISTER_SIGNAL_HANDLERS
    with SignalHandlers(put) if handlers else contextlib.nullcontext():
        runner.run()
    return runner
