"""The life of one instance of a service, from its start to its exit status.

Two threads share the work. The *supervising* thread (the main thread, or that of ``startBG``)
waits in one place for whatever happens: signals, requests, failures, deadlines. It never runs a
task's code, so it can always act. The *lifecycle* thread runs that code, one step after the other:
create, init, start, reload, stop, join.
"""

from __future__ import annotations

import queue
import signal
import threading
from time import monotonic
from typing import TYPE_CHECKING, NamedTuple

from sparts import systemd
from sparts.errors import (
    SpartsError,
    StartError,
    StopTimeoutError,
    TaskFailedError,
    UsageError,
    describe,
    message_of,
)
from sparts.exit_timer import EXIT_DEADLINE, ExitTimer
from sparts.inbox import Message
from sparts.signals import RELOAD, STACKS
from sparts.stacks import format_thread
from sparts.states import ServiceStatus, TaskState

if TYPE_CHECKING:
    from collections.abc import Callable

    from sparts.vservice import VService
    from sparts.vtask import VTask

EXIT_CLEAN = 0
EXIT_FAILURE = 1
EXIT_USAGE = 2

#: Seconds past its deadline after which a process is ended whose interpreter is stuck.
GUARD_GRACE = 2.0


class Outcome(NamedTuple):
    """How an instance ended."""

    status: int
    """The exit status that follows from it."""
    error: BaseException | None
    restart: bool
    hung: bool
    """Whether a thread was left behind that did not end in time."""


class _StopRequested(Exception):  # noqa: N818 - not an error
    """Raised between two steps of the start when the service shall stop."""


class Lifecycle:
    """Drives one instance: make it, then call `run` in the supervising thread.

    Args:
        service: a new instance.
        guard: whether the process belongs to the service, and may be ended when the interpreter
        hangs. on_started: called in the supervising thread when the start has succeeded.
    """

    def __init__(
        self, service: VService, guard: bool = False, on_started: Callable[[], None] = lambda: None
    ) -> None:
        self.service = service
        self.error: BaseException | None = None
        self._logged: BaseException | None = None  # what failed the start, once it is logged
        self.status = EXIT_CLEAN
        self.hung = False
        self._guard = ExitTimer() if guard else None
        self._on_start_succeeded = on_started
        self._timers: dict[str, tuple[float, Callable[[], None]]] = {}
        self._cancelled = threading.Event()
        self._phase = "starting"  # then: alive, draining, stopping, ended
        self._step = ""
        self._starting: VTask | None = None
        self._signalled = False
        self._reload_waits = False
        self._worker = _Worker(service.name, self._broke)

    def run(self) -> Outcome:
        """Start the service, wait for its end, and tell how it ended."""
        self._worker.put(self._start)
        if timeout := self.service.start_timeout:
            self._set_timer("start", timeout, self._start_timed_out)
        while self._phase != "ended":
            try:
                self._act(self._next_message())
            except KeyboardInterrupt:  # no handlers are installed
                self.service.inbox.put(Message("signal", None, signal.SIGINT))
        self._worker.end(wait=self.status != EXIT_DEADLINE)  # past it, this may be what hangs
        if self._guard:
            self._guard.disarm()
        return Outcome(self.status, self.error, self.service.restarting, self.hung)

    # -- the supervising thread: waiting -----------------------------------------------------------

    def _next_message(self) -> Message | None:
        """Wait for a message; run the timers that are due meanwhile, and return None after one."""
        now = monotonic()
        due = next((name for name, (when, _) in self._timers.items() if when <= now), None)
        if due is not None:
            self._timers.pop(due)[1]()
            return None
        next_due = min((when for when, _ in self._timers.values()), default=None)
        return self.service.inbox.get(None if next_due is None else next_due - now)

    def _set_timer(self, name: str, seconds: float, action: Callable[[], None]) -> None:
        self._timers[name] = (monotonic() + seconds, action)

    def _act(self, message: Message | None) -> None:
        if message is not None and message.about in (None, self.service):
            _ACTIONS[message.kind](self, message.value)

    # -- the supervising thread: acting ------------------------------------------------------------

    def _on_signal(self, number: signal.Signals) -> None:
        if number == STACKS:
            self._log_stacks()
        elif number == RELOAD:
            self._on_reload(None)
        elif self._phase == "draining":
            self.service.logger.info("%s Received!  Not draining any longer", _name(number))
            self._stop_now()
        elif self._phase == "stopping" and self._signalled:
            self._expire(f"a second {number.name} came")
        else:
            self._signalled = True
            self.service.logger.info("%s Received!  Stopping Tasks...", _name(number))
            self._on_stop(None)

    def _on_stop(self, _: object) -> None:
        self.service.restarting = False
        if self._phase in ("starting", "alive"):
            serves = self.service.status in (ServiceStatus.ALIVE, ServiceStatus.WARNING)
            self._begin_stop(self.service.drain_time if serves else 0.0)

    def _on_restart(self, _: object) -> None:
        if self._phase in ("starting", "alive"):
            self.service.restarting = True
            self._begin_stop()

    def _on_left(self, left: tuple[VTask, BaseException]) -> None:
        """Act on what left a worker for good."""
        task, error = left
        if isinstance(error, KeyboardInterrupt):
            task.logger.info("KeyboardInterrupt Received!  Stopping Tasks...")
        elif isinstance(error, SystemExit):
            code = error.code
            task.logger.info("%s asks for the exit of the process: %s", task.name, code)
            self.status = self.status or (code if isinstance(code, int) else int(code is not None))
        else:
            self._fail(TaskFailedError(f"{task.name} failed: {describe(error)}"), error)
        self._stop_after_failure()

    def _stop_after_failure(self) -> None:
        """Stop without a drain; the deadline of a stop that has begun stays."""
        self.service.restarting = False
        if self._phase in ("starting", "alive"):
            self._begin_stop()
        elif self._phase == "draining":
            self._stop_now()

    def _on_later(self, timer: tuple[str, float, Callable[[], None]]) -> None:
        self._set_timer(*timer)

    def _on_cancel(self, timer: str) -> None:
        self._timers.pop(timer, None)

    def _on_started(self, error: BaseException | None) -> None:
        self._timers.pop("start", None)
        if error is not None:
            self._fail(error, error.__cause__)
            if self._phase == "starting":
                self._begin_stop()
        elif self._phase == "starting":
            self._phase = "alive"
            self._on_start_succeeded()
            if interval := systemd.watchdog_interval():
                self._pet_watchdog(interval / 2)

    def _on_stopped(self, _: object) -> None:
        self._phase = "ended"

    def _on_broke(self, error: BaseException) -> None:
        """Act on an error that no step of the lifecycle thread accounts for."""
        self._fail(error, error.__cause__)
        if self._phase == "stopping":
            self._phase = "ended"
        self._stop_after_failure()

    def _on_reload(self, _: object) -> None:
        if self._phase in ("starting", "alive") and not self._reload_waits:
            self._reload_waits = True
            self._worker.put(self._reload)

    def _fail(self, error: BaseException, cause: BaseException | None) -> None:
        if self.error is None:
            error.__cause__ = cause
            self.error = error
        wrong_use = isinstance(error, UsageError)
        self.status = self.status or (EXIT_USAGE if wrong_use else EXIT_FAILURE)

    def _begin_stop(self, drain: float = 0.0) -> None:
        """Take the service out of service; stop its tasks after ``drain`` seconds."""
        timeout = self.service.stop_timeout
        if self._guard and timeout:
            self._guard.arm(timeout + GUARD_GRACE)
        self._cancelled.set()
        if self._starting is not None:
            self._starting.give_up_start()
        self._timers.clear()
        self.service.record_status(ServiceStatus.STOPPING)
        systemd.notify("STOPPING=1")
        if timeout:
            self.service.stop_deadline = monotonic() + timeout
            self._set_timer("stop", timeout, lambda: self._expire(f"{timeout:g} s have passed"))
        self._worker.put(self.service.tell_statuses)
        self._phase = "draining"
        if drain:
            self.service.logger.info("Draining for %g s", drain)
            self._set_timer("drain", drain, self._stop_now)
        else:
            self._stop_now()

    def _stop_now(self) -> None:
        self._timers.pop("drain", None)
        self._phase = "stopping"
        self._worker.put(self._stop)

    def _start_timed_out(self) -> None:
        timeout = self.service.start_timeout
        error = StartError(f"{self._step} did not end within {timeout:g} s (--start-timeout)")
        self.service.logger.error("%s\n%s", error, format_thread(self._worker.thread))
        self._logged = error
        self._fail(error, None)
        self.hung = True
        self._worker.end(wait=False)  # what hangs there is given up; another thread stops the rest
        self._worker = _Worker(self.service.name, self._broke)
        self._begin_stop()

    def _expire(self, why: str) -> None:
        """Give up waiting for the stop: name what hangs, show where, end with `EXIT_DEADLINE`."""
        service = self.service
        ended = (TaskState.NEW, TaskState.STOPPED, TaskState.SKIPPED, TaskState.DEAD)
        late: list[VTask] = [task for task in service.instances() if task.state not in ended]
        names = (
            ", ".join(task.name for task in late if self._holds_up(task)) or self._step or "a hook"
        )
        stacks = "".join(task.format_stacks() for task in late) + format_thread(self._worker.thread)
        error = StopTimeoutError(f"Not stopped, although {why}: {names}")
        service.logger.critical("%s\n%s", error, stacks)
        self.status, self.error, self.hung = EXIT_DEADLINE, error, True
        service.restarting = False
        service.record_status(ServiceStatus.DEAD)
        teller = _Worker(service.name, lambda error: None)
        for task in late:
            teller.put(task.abandoned)
        teller.put(service.tell_statuses)
        teller.end(wait=True, timeout=1.0)  # a hook may be what hangs
        self._phase = "ended"

    def _holds_up(self, task: VTask) -> bool:
        """Whether the stop waits for a task: not if its threads have ended, and no join of it."""
        gone = task.threads and not any(thread.is_alive() for thread in task.threads)
        return not gone or self._step.endswith(f" of {task.name}")

    def _log_stacks(self) -> None:
        # Coroutines of a task without threads live on a loop, whose task shows them.
        tasks = [task for task in self.service.instances() if not task.LOOPLESS]
        theirs = {thread for task in tasks for thread in task.threads}
        others = [thread for thread in threading.enumerate() if thread not in theirs]
        stacks = [*map(format_thread, others), *(task.format_stacks() for task in tasks)]
        self.service.logger.warning("Stacks of all threads:\n%s", "".join(stacks))

    def _pet_watchdog(self, interval: float) -> None:
        if self.service.healthy:
            systemd.notify("WATCHDOG=1")
        self._set_timer("watchdog", interval, lambda: self._pet_watchdog(interval))

    def _broke(self, error: BaseException) -> None:
        self.service.logger.critical("The lifecycle failed in %s", self._step, exc_info=error)
        self.service.inbox.put(Message("broke", self.service, error))

    # -- the lifecycle thread ----------------------------------------------------------------------

    def _start(self) -> None:
        error: BaseException | None = None
        service = self.service
        try:
            service.record_status(ServiceStatus.STARTING)
            service.tell_statuses()
            service.create_tasks()
            service.tasks.init(self._start_step)
            service.tasks.start(self._start_step)
            self._start_step("", None)
            service.record_status(ServiceStatus.ALIVE)
            service.tell_statuses()
            service.logger.debug("All tasks started")
        except _StopRequested:
            pass
        except BaseException as caught:
            error = caught
            if not isinstance(caught, SpartsError):
                error = StartError(f"{self._step or 'The start'} failed: {describe(caught)}")
            service.logger.error("%s", error, exc_info=None if error is caught else caught)
            error.__cause__ = error.__cause__ if error is caught else caught
            self._logged = error
        service.inbox.put(Message("started", service, error))

    def _start_step(self, what: str, task: VTask | None) -> None:
        self._starting = task
        if self._cancelled.is_set():
            raise _StopRequested
        self._step = f"{what} of {task.name}" if task else ""

    def _reload(self) -> None:
        self._reload_waits = False
        if self._cancelled.is_set():
            return
        systemd.notify("RELOADING=1", f"MONOTONIC_USEC={int(monotonic() * 1e6)}")
        self._step = "reload"
        self.service.reload()
        self._step = ""
        systemd.notify("READY=1")

    def _stop(self) -> None:
        service = self.service
        for task, error in service.tasks.stop(self._stop_step):
            text = f"{task.name} failed while stopping: {describe(error)}"
            self._fail(TaskFailedError(text), error)
        self._step = ""
        service.record_status(ServiceStatus.DEAD if self.status else ServiceStatus.STOPPED)
        service.tell_statuses()
        if self.status:
            why = "" if self.error is self._logged else f": {message_of(self.error)}"
            service.logger.error("Instance ended with status %d%s", self.status, why)
        else:
            service.logger.info("Instance shut down gracefully")
        service.inbox.put(Message("stopped", service))

    def _stop_step(self, what: str, task: VTask) -> None:
        self._step = f"{what} of {task.name}"
        if (timeout := task.STOP_TIMEOUT) is None:
            return
        inbox, timer = self.service.inbox, f"stop of {task.name}"
        if what == "stop":
            why = f"STOP_TIMEOUT of {task.name}, {timeout:g} s, has passed"
            inbox.put(Message("later", self.service, (timer, timeout, lambda: self._expire(why))))
        elif what == "joined":
            inbox.put(Message("cancel", self.service, timer))


_ACTIONS = {
    name.removeprefix("_on_"): action
    for name, action in vars(Lifecycle).items()
    if name.startswith("_on_") and name != "_on_start_succeeded"
}


class _Worker:
    """A lifecycle thread: runs the jobs that are put to it, one after the other."""

    def __init__(self, name: str, broke: Callable[[BaseException], None]) -> None:
        self._broke = broke
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self.put = self._jobs.put
        self.thread = threading.Thread(target=self._run, name=f"{name} lifecycle", daemon=True)
        self.thread.start()

    def _run(self) -> None:
        for job in iter(self._jobs.get, None):
            try:
                job()
            except BaseException as error:  # nobody would see this thread end
                self._broke(error)

    def end(self, wait: bool, timeout: float | None = None) -> None:
        """End after the jobs that wait; if ``wait``, return only then, or after ``timeout``
        seconds."""
        self._jobs.put(None)
        if wait:
            self.thread.join(timeout)


def _name(number: signal.Signals) -> str:
    return "KeyboardInterrupt" if number == signal.SIGINT else number.name
