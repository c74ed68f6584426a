"""The life of one instance of a service, from its start to its exit status.

Two threads share the work. The *supervising* thread (the main thread, or that of ``startBG``)
waits in one place for whatever happens: signals, requests, failures, deadlines. The *lifecycle*
thread runs the code of the service and its tasks, one step after the other: prepare, create, init,
start, reload, stop, join.

The supervising thread must always be able to act. So it runs no code of a service, task or plugin,
calls no hook and writes no log line. It gives these to other threads: log lines to the *reporter*,
the rest to the *spare*, which is made once the tasks have started, or when a stop begins before. If
the system has no thread for it then, the reporter does its work.
"""

from __future__ import annotations

import logging
import signal
import threading
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING

from sparts.errors import (
    StartError,
    StopTimeoutError,
    format_thread,
    format_threads,
    log_error,
    type_name,
)
from sparts.inbox import RELOAD, STACKS, JobThread, Message, Timers, name_of
from sparts.kernel.phases import Ending, Phases
from sparts.states import ServiceStatus, TaskState
from sparts.this_process import EXIT_DEADLINE, GUARD_GRACE, ExitTimer, end_output

if TYPE_CHECKING:
    from collections.abc import Callable

    from sparts.kernel import Instance
    from sparts.kernel.supervision import Supervisor

#: Seconds that log lines and what else is left to be said may take after the deadline of a stop.
LAST_WORDS = 1.0
#: Seconds that log lines may take to be written after a stop in order.
LOG_END = 3.0
#: Errors of the supervising thread itself after which a service is given up.
MOST_SLIPS = 10
#: Bytes of address space that are kept for the stop. Zeroes take no memory, as nobody reads them.
RESERVE = 16 * 2**20


class Lifecycle:
    """Drives one instance: make it, then call `run` in the supervising thread.

    Args:
        instance: a new instance.
        on_started: called in the supervising thread when the start has succeeded.

    Attributes:
        ending: how the instance ended.
        hung: whether a thread was left behind that did not end in time.
        reporter: writes log lines; where the process ends with the service, it is there to its end.
    """

    def __init__(self, instance: Instance, on_started: Callable[[], None] = lambda: None) -> None:
        self.instance = instance
        self._service = instance.service  # which messages name
        self._health = instance.health
        self.hung: bool = False
        self.ending: Ending = Ending()
        self._exit_timer = ExitTimer() if instance.health.owns_process else None
        self._on_start_succeeded = on_started
        self._timers = Timers()
        self._phase = "starting"  # then: alive, draining, stopping, ended
        self._phases = Phases(instance, self.ending, self._say)
        self._signalled, self._slips = False, 0
        self._reserve: bytes | None = bytes(RESERVE)
        self._worker = JobThread(f"{instance.name} lifecycle", self._broke)
        self.reporter: JobThread = JobThread(f"{instance.name} reporter", self._lost)
        self._spare = JobThread(f"{instance.name} spare", self._broke)

    def run(self) -> Instance | None:
        """Start the service and wait for its end; return the instance to run next, if any."""
        self._worker.put(self._phases.prepare)
        self.reporter.start()
        try:
            self._worker.start()
        except BaseException:
            self.reporter.end()
            raise
        while self._phase != "ended":
            try:
                self._supervise()
            except KeyboardInterrupt:  # no handlers are installed
                self.instance.inbox.put(Message("signal", None, signal.SIGINT))
            except BaseException as error:  # such as a MemoryError: it must not end unseen
                self._slipped(error)
        successor = self._phases.successor if self._health.restarting else None
        self._conclude(successor)
        return successor

    def _conclude(self, successor: Instance | None) -> None:
        """End the threads. What hangs in them is left behind."""
        late = self.ending.status == EXIT_DEADLINE
        if self._exit_timer and not late:
            self._exit_timer.disarm()
        until = monotonic() + (LAST_WORDS if late else LOG_END)
        written = threading.Event()
        self._worker.end()
        if successor is None:  # else the next instance takes it over
            self.reporter.put(self.instance.close_logging)
        self.reporter.put(written.set)
        if not written.wait(until - monotonic()):  # nobody reads the log
            self.hung = True
        if self.hung and self._exit_timer:
            self._start_spare()
            self._spare.put(end_output)
            self._spare.end()
            self._spare.join(until - monotonic())
        if successor is not None or self._exit_timer is None:  # else they end with the process
            for thread in (self._spare, self.reporter):
                thread.end()
                thread.join(until - monotonic())
        if not late and not self._worker.join(until - monotonic()):
            self.hung = True

    # -- the supervising thread: waiting -----------------------------------------------------------

    def _supervise(self) -> None:
        """Wait; act on one message, and run the timers that are due. Neither can keep the other
        waiting.
        """
        message = self.instance.inbox.get(self._timers.left())
        if message is not None and (message.about is None or message.about is self._service):
            _ACTIONS[message.kind](self, message.value)
        self._timers.run()

    def _say(self, level: int, text: str, *args: object, task: Supervisor | None = None) -> None:
        """Log a line in the reporter."""
        self.reporter.put(
            lambda: (task.ours if task else self.instance).logger.log(level, text, *args)
        )

    # -- the supervising thread: acting ------------------------------------------------------------

    def _on_signal(self, number: signal.Signals) -> None:
        if number == STACKS:
            self.reporter.put(self._log_stacks)
        elif number == RELOAD:
            self._on_reload(None)
        elif self._phase == "draining":
            self._say(logging.INFO, "%s Received!  Not draining any longer", name_of(number))
            self._stop_now()
        elif self._phase == "stopping" and self._signalled:
            self._expire(f"a second {number.name} came")
        else:
            self._signalled = True
            self._say(logging.INFO, "%s Received!  Stopping Tasks...", name_of(number))
            self._on_stop(None)

    def _on_stop(self, _: object) -> None:
        self._health.restarting = False
        if self._phase in ("starting", "alive"):
            self._begin_stop(self.instance.settings.drain_time if self._health.serves else 0.0)

    def _on_restart(self, _: object) -> None:
        if self._phase in ("starting", "alive"):
            self._health.restarting = True
            self._begin_stop()

    def _on_left(self, left: tuple[Supervisor, BaseException]) -> None:
        """Act on what left a worker for good."""
        task, error = left
        if isinstance(error, KeyboardInterrupt):
            self._say(logging.INFO, "KeyboardInterrupt Received!  Stopping Tasks...", task=task)
        elif isinstance(error, SystemExit):
            code = error.code
            text = "%s asks for the exit of the process: %s"
            self._say(logging.INFO, text, task.name, code, task=task)
            self.ending.leave(error)
        else:
            self.ending.fail(error)
        self._stop_after_failure()

    def _stop_after_failure(self) -> None:
        """Stop without a drain; the deadline of a stop that has begun stays."""
        self._health.restarting = False
        if self._phase in ("starting", "alive"):
            self._begin_stop()
        elif self._phase == "draining":
            self._stop_now()

    def _on_later(self, timer: tuple[str, float, Callable[[], object]]) -> None:
        """Have the lifecycle thread call a function after some seconds."""
        name, seconds, action = timer
        self._timers.set(name, seconds, lambda: self._worker.put(action))

    def _on_deadline(self, timer: tuple[str, float, str]) -> None:
        """Give up waiting for the stop after some seconds."""
        name, seconds, why = timer
        self._timers.set(name, seconds, lambda: self._expire(why))

    def _on_cancel(self, timer: str) -> None:
        self._timers.pop(timer, None)

    def _on_prepared(self, _: object) -> None:
        if self._phase == "starting":  # and no stop was asked for meanwhile
            self._worker.put(self._phases.start)
            if timeout := self.instance.settings.start_timeout:
                self._timers.set("start", timeout, self._start_timed_out)

    def _on_started(self, error: BaseException | None) -> None:
        self._timers.pop("start", None)
        if error is not None:
            self.ending.fail(error)
            if self._phase == "starting":
                self._begin_stop()
        elif self._phase == "starting":
            self._phase = "alive"
            self._on_start_succeeded()
            self._start_spare()  # now there is time, and memory, which a stop may lack
            if self._exit_timer:
                self._spare.put(self._exit_timer.prepare)

    def _on_stopped(self, _: object) -> None:
        self._phase = "ended"

    def _on_broke(self, error: BaseException) -> None:
        """Act on an error that no step of the lifecycle thread accounts for."""
        self.ending.fail(error)
        self._stop_after_failure()

    def _slipped(self, error: BaseException) -> None:
        """Act on an error of this thread's own: stop in order, or end if that is impossible."""
        self._slips += 1
        self._reserve = None
        try:
            self.ending.fail(error)
            self._say(logging.CRITICAL, "The service itself failed: %s", type_name(error))
            self._stop_after_failure()
            if self._slips == MOST_SLIPS:
                self._expire("the supervision failed again and again")
        except BaseException:
            self._slips += 1
        if self._slips > MOST_SLIPS:
            self.ending.status, self.hung, self._phase = EXIT_DEADLINE, True, "ended"

    def _on_reload(self, _: object) -> None:
        if self._phase in ("starting", "alive") and not self._phases.reload_waits:
            self._phases.reload_waits = True
            self._worker.put(self._phases.reload)

    def _start_spare(self) -> None:
        self._spare = self._spare.started_or(self.reporter)

    def _begin_stop(self, drain: float = 0.0) -> None:
        """Take the service out of service; stop its tasks after ``drain`` seconds."""
        timeout, self._reserve = self.instance.settings.stop_timeout, None
        self._phase = "draining"  # should anything here fail, the tasks are stopped all the same
        self._start_spare()
        if self._exit_timer and timeout:
            self._exit_timer.arm(timeout + GUARD_GRACE)
        self._phases.cancelled.set()
        self._timers.clear()
        if timeout:
            self._health.stop_deadline = monotonic() + timeout
            self._timers.set("stop", timeout, lambda: self._expire(f"{timeout:g} s have passed"))
        if (task := self._phases.starting) is not None:
            self._spare.put(task.ours._give_up_start)
        self._health.record_status(ServiceStatus.STOPPING)
        self._worker.put(self._health.tell_statuses)
        if drain:
            self._say(logging.INFO, "Draining for %g s", drain)
            self._timers.set("drain", drain, self._stop_now)
        else:
            self._stop_now()

    def _stop_now(self) -> None:
        self._timers.pop("drain", None)
        self._worker.put(self._phases.stop)
        self._worker.end()
        self._phase = "stopping"

    def _start_timed_out(self) -> None:
        timeout, hangs = self.instance.settings.start_timeout, self._worker
        step = self._phases.step
        error = StartError(f"{step} did not end within {timeout:g} s (--start-timeout)")
        self.reporter.put(
            lambda: self.instance.logger.error("%s\n%s", error, format_thread(hangs.thread))
        )
        self.ending.fail(error)
        self.ending.logged = error
        self.hung = True
        hangs.end()  # what hangs there is given up; another thread stops the rest
        self._start_spare()
        self._worker, self._spare = self._spare, self.reporter
        self._begin_stop()

    def _expire(self, why: str) -> None:
        """Give up waiting for the stop: name what hangs, show where, end with `EXIT_DEADLINE`."""
        ended = (TaskState.NEW, TaskState.STOPPED, TaskState.SKIPPED, TaskState.DEAD)
        late = [task for task in self.instance.running if task.state not in ended]
        names = ", ".join(task.name for task in late if self._holds_up(task))
        names = names or self._phases.step or "a hook"
        error = StopTimeoutError(f"Not stopped, although {why}: {names}")
        self.ending.status, self.ending.error, self.hung = EXIT_DEADLINE, error, True
        self._health.restarting = False
        self._health.record_status(ServiceStatus.DEAD)
        self.reporter.put(partial(self._log_late, error, late))
        for task in late:
            self._spare.put(task.ours._abandoned)
        self._spare.put(self._health.tell_statuses)
        self._phase = "ended"

    def _holds_up(self, task: Supervisor) -> bool:
        """Whether the stop waits for a task: not if its threads have ended, and no join of it."""
        gone = task.threads and not any(thread.is_alive() for thread in task.threads)
        return not gone or self._phases.step.endswith(f" of {task.name}")

    # -- the other threads of the supervision ------------------------------------------------------

    def _lost(self, error: BaseException) -> None:
        log_error(self.instance.logger, "The supervision could not do something", error=error)

    def _log_late(self, error: StopTimeoutError, late: list[Supervisor]) -> None:
        stacks = "".join(task.ours._format_stacks() for task in late)
        stacks += format_thread(self._worker.thread)
        self.instance.logger.critical("%s\n%s", error, stacks)

    def _log_stacks(self) -> None:
        # Coroutines of a task without threads live on a loop, whose task shows them.
        tasks = [task for task in self.instance.running if not task.ours.LOOPLESS]
        theirs = {thread for task in tasks for thread in task.threads}
        stacks = format_threads(theirs) + "".join(task.ours._format_stacks() for task in tasks)
        self.instance.logger.warning("Stacks of all threads:\n%s", stacks)

    def _broke(self, error: BaseException) -> None:
        if threading.current_thread() is self._worker.thread:  # and not given up
            self.instance.inbox.put(Message("broke", self.instance.service, error))
            step = self._phases.step
            log_error(self.instance.logger, "The lifecycle failed in %s", step, error=error)


_ACTIONS = {name[4:]: act for name, act in vars(Lifecycle).items() if name.startswith("_on_")}
