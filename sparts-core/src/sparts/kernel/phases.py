"""What the lifecycle thread does with one instance of a service, phase by phase.

All code of the service and its tasks that belongs to no worker runs here, one step after the other:
prepare, create, init, start, reload, stop, join, and at a restart the making of the next instance.
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

from sparts.errors import (
    SpartsError,
    StartError,
    TaskFailedError,
    UsageError,
    call_plain,
    describe,
    log_error,
    message_of,
    status_of,
    text_of,
)
from sparts.inbox import Message
from sparts.masking import masked
from sparts.states import ServiceStatus
from sparts.this_process import complain

if TYPE_CHECKING:
    from collections.abc import Callable

    from sparts.kernel import Instance
    from sparts.kernel.supervision import Supervisor


class Ending:
    """How an instance ends: the first failure decides."""

    def __init__(self) -> None:
        self.status: int = 0
        self.error: BaseException | None = None
        self.logged: BaseException | None = None
        """What failed the start, once it is logged."""
        self.refused = False
        """Whether the options or the logging were wrong, so that nothing was started."""

    def fail(self, error: BaseException) -> None:
        """Note a failure."""
        self.status = self.status or status_of(error)
        self.error = self.error or error

    def leave(self, error: SystemExit) -> None:
        """Note with which status the process was asked to exit."""
        self.status = self.status or status_of(error)


class _StopRequested(Exception):  # noqa: N818 - not an error
    """Raised between two steps of the start when the service must stop."""


class Phases:
    """The jobs of the lifecycle thread. Each informs the inbox of the service when it is done.

    Args:
        instance: a new instance.
        ending: where failures are noted.
        say: logs a line after those that wait to be logged.
    """

    def __init__(self, instance: Instance, ending: Ending, say: Callable[..., None]) -> None:
        self.instance = instance
        self.cancelled: threading.Event = threading.Event()
        """Set when the service must stop, so that the start ends early."""
        self.step: str = ""
        """What is done just now, for messages."""
        self.starting: Supervisor | None = None
        """The task that is initialised or started just now."""
        self.reload_waits: bool = False
        """Whether a reload was asked for that has not begun."""
        self.successor: Instance | None = None
        """The instance that comes next."""
        self._ending = ending
        self._say = say

    def prepare(self) -> None:
        """Have the service look at its options and set up its log."""
        instance = self.instance
        self.step = "preprocessOptions"
        try:
            instance.preprocess_options()
            self.step = "initLogging"
            call_plain(instance.ours.initLogging)
        except BaseException as error:
            self._refuse(error)
            instance.health.restarting = False
            self._report("stopped")
        else:
            self._report("prepared")
        self.step = ""

    def start(self) -> None:
        """Create, initialise and start the tasks."""
        error: BaseException | None = None
        instance, health = self.instance, self.instance.health
        try:
            health.record_status(ServiceStatus.STARTING)
            health.tell_statuses()
            instance.create()
            instance.running.init(self._start_step)
            instance.running.start(self._start_step)
            self._start_step("", None)
            health.record_status(ServiceStatus.ALIVE)
            health.tell_statuses()
            instance.logger.debug("All tasks started")
            instance.warn_of_overwritten()
            self.step = "the watch of option sources"
            instance.reloading.watch_sources()
            self.step = ""
        except _StopRequested:
            pass
        except BaseException as caught:
            error = caught
            if not isinstance(caught, SpartsError):
                error = StartError(f"{self.step or 'The start'} failed: {describe(caught)}")
                error.__cause__ = caught
            what = text_of(error)
            log_error(instance.logger, "%s", what, error=None if error is caught else caught)
            self._ending.logged = error
        finally:
            self._report("started", error)

    def _report(self, kind: str, value: object = None) -> None:
        """Tell the supervising thread of the end of a job."""
        self.instance.inbox.put(Message(kind, self.instance.service, value))

    def _refuse(self, error: BaseException) -> None:
        """Note what came before the start of an instance and failed."""
        self._ending.refused = isinstance(error, UsageError)
        if isinstance(error, SystemExit):
            self._ending.leave(error)
            self._ending.error = error
            if error.code is not None and not isinstance(error.code, int):
                complain(masked(text_of(error.code)))  # as Python does, without the secrets
            return
        self._ending.fail(error)
        if not self._ending.refused:
            log_error(self.instance.logger, "%s failed", self.instance.name, error=error)

    def _start_step(self, what: str, task: Supervisor | None) -> None:
        self.starting = task
        if self.cancelled.is_set():
            raise _StopRequested
        self.step = f"{what} of {task.name}" if task else ""

    def reload(self) -> None:
        """Take in changed files and options, unless the service must stop."""
        self.reload_waits = False
        if self.cancelled.is_set():
            return
        self.step = "reload"
        self.instance.reloading.attempt(self.instance.name, self.instance.ours.reload)
        self.step = ""

    def stop(self) -> None:
        """Stop the tasks; at a restart, make the next instance."""
        try:
            self._stop()
        except BaseException as error:  # what reports it, such as a log handler
            log_error(self.instance.logger, "The stop failed")
            self._ending.fail(error)
        finally:
            self._report("stopped")

    def _stop(self) -> None:
        instance, health, ending = self.instance, self.instance.health, self._ending
        instance.warn_of_overwritten()
        for task, error in instance.running.stop(self._stop_step):
            failure = TaskFailedError(f"{task} failed while stopping: {describe(error)}")
            failure.__cause__ = error
            ending.fail(failure)
        self.step = "the end of the watch of option sources"
        instance.reloading.unwatch_sources()
        self.step = ""
        health.record_status(ServiceStatus.DEAD if ending.status else ServiceStatus.STOPPED)
        health.tell_statuses()
        if ending.status:
            why = "" if ending.error is ending.logged else f": {message_of(ending.error)}"
            self._say(logging.ERROR, "Instance ended with status %d%s", ending.status, why)
        else:
            self._say(logging.INFO, "Instance shut down gracefully")
        if health.restarting:
            self._succeed()

    def _stop_step(self, what: str, task: Supervisor) -> None:
        self.step = f"{what} of {task.name}"
        if (timeout := task.ours.STOP_TIMEOUT) is None:
            return
        timer = f"stop of {task.name}"
        if what == "stop":
            why = f"STOP_TIMEOUT of {task.name}, {timeout:g} s, has passed"
            self._report("deadline", (timer, timeout, why))
        elif what == "joined":
            self._report("cancel", timer)

    def _succeed(self) -> None:
        self.step = "the restart"
        try:
            self.successor = self.instance.successor()
        except BaseException as error:
            self._refuse(error)
