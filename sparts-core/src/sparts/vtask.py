"""VTask: one unit of work of a service, and its worker threads."""

from __future__ import annotations

import logging
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from sparts import references
from sparts.base_work import keep_base_work, must_override
from sparts.counters import counter
from sparts.errors import SkipTask, TryLater, check_wrapper, format_thread
from sparts.established import EstablishedTask, TaskReference
from sparts.kernel.supervision import Supervisor
from sparts.references import Tasks
from sparts.shown import ours, shown, take_renamed
from sparts.startup import imported_later
from sparts.states import TaskState
from sparts.supervision import RestartPolicy

if TYPE_CHECKING:
    import argparse
    import threading
    from collections.abc import Sequence
    from typing import Self

    from sparts.calls import Wrapper
    from sparts.context import ExecuteContext
    from sparts.vservice import VService
else:  # what only tasks with runs need
    __getattr__ = imported_later(__name__, {"sparts.context": ("ExecuteContext",)})

__all__ = [
    "REGISTERED", "ExecuteContext", "RestartPolicy", "SkipTask", "TaskReference", "Tasks",
    "TryLater", "VTask",
]  # fmt: skip

REGISTERED = references.registered
"""The tasks of every service of this process; `VTask.register` adds to them."""


class VTask(EstablishedTask):
    """One unit of work of a service.

    A service makes an instance of each of its task classes, and calls, in its lifecycle thread and
    in the order of ``DEPS``, `initTask` of all and then `start` of all; at the end, in reverse,
    `stop` and `join` of each. `start` makes ``workers`` threads that run `initTaskThread` and then
    `_runloop`.

    An exception that leaves a worker ends the service unless ``RESTART`` says otherwise; see
    `sparts.vtask.RestartPolicy`.
    """

    OPT_PREFIX: ClassVar[str | None] = None
    """The prefix of the task's options (``"http"``: ``--http-port``); None: the class's name."""
    LOOPLESS: ClassVar[bool] = False
    """True: the task has no threads of its own."""
    DEPS: ClassVar[Sequence[TaskReference]] = ()
    """The tasks that this one needs: they come along, start before it and stop after it."""
    DEPS_OPTIONAL: ClassVar[bool] = True
    """Whether this task runs also without a task of ``DEPS`` that raised `SkipTask`. Then
    ``requireTask`` raises `KeyError`; False: this task is left out, too."""
    RESTART: ClassVar[str | RestartPolicy] = "never"
    """When a failed worker runs again: ``"never"``, ``"on-failure"``, ``"always"``, or a policy."""
    _SERVICE_DEFAULTS: ClassVar[bool] = True
    """Whether attributes of the service's class stand in for this task's in the defaults of its
    options, as ``DEFAULT_PORT`` does."""
    STOP_TIMEOUT: ClassVar[float | None] = None
    """Seconds that this task may take to stop; None: as long as the whole service may."""

    CALL_KIND: ClassVar[str] = ""
    """The kind of the calls that this task handles, see `sparts.calls.Call`; empty: it does not."""

    PROCESSES: ClassVar[Literal["all", "first"]] = "all"
    """With ``--processes``: ``"all"`` copies of the service run this task, or one alone:
    ``"first"``. When that copy ends, another one starts the task."""

    workers: int = 1
    """How many threads run `_runloop`."""

    _n_failures: counter = counter(name="n_failures", help="Failures of this task's workers.")
    _n_restarts: counter = counter(
        name="n_restarts", help="Restarts of these workers after a failure."
    )

    def __init_subclass__(cls, **arguments: Any) -> None:
        super().__init_subclass__(**arguments)
        take_renamed(cls)
        keep_base_work(cls)

    _settable: ClassVar[dict[str, tuple[type, ...]]] = {
        "logger": (logging.Logger,),  # a service may log elsewhere
        "workers": (int,),  # as an option of the task says
        "STOP_TIMEOUT": (int, float),  # the same
        "healthy": (),  # by a property alone
    }

    def __init__(self, service: VService) -> None:
        """Make the task for a service; called by the service. Do the work in `initTask`."""
        self._instance = instance = service._instance
        self._supervisor = kept = Supervisor(self, instance.name, instance.health, instance.running)
        vars(self).update(  # a subclass may have a property of such a name
            service=service, name=kept.name, logger=kept.logger, threads=kept.threads,
            stop_event=kept.stop_event,
        )  # fmt: skip

    # -- what the task is, past what its class assigns: see `sparts.shown` -------------------------

    if TYPE_CHECKING:
        name: str
        """The name of the task: that of its class."""
        service: VService
        logger: logging.Logger
        """The logger named ``SERVICE.TASK``."""
        threads: list[threading.Thread]
        """The worker threads."""
        stop_event: threading.Event
        """Set when the task must stop; wait on it in `_runloop` instead of sleeping. In ``execute``
        of a queue or periodic task use ``context.wait(seconds)``: items are still worked on."""
    else:
        name = shown(lambda self: self._supervisor.name)
        service = shown(lambda self: self._instance.service)
        logger = shown(lambda self: self._supervisor.logger)
        threads = shown(lambda self: self._supervisor.threads)
        stop_event = shown(lambda self: self._supervisor.stop_event)

    @shown
    def supervisor(self) -> Supervisor:
        """What runs the workers, and knows the state of the task."""
        return self._supervisor

    @shown
    def state(self) -> TaskState:
        """Where the task is in its life."""
        return self._supervisor.state

    @shown
    def running(self) -> bool:
        """True from the start of the task until its stop begins."""
        return self._supervisor.running

    @shown
    def ready(self) -> bool:
        """Whether the task does its work now; the service is ready when every task is.

        True from the end of `start` on, unless `set_ready` says otherwise.
        """
        return self._supervisor.ready

    def set_ready(self, ready: bool) -> None:
        """Say whether the task does its work; from any thread.

        A task that becomes ready later calls it with False in `initTask`, and with True when it is.
        """
        self._supervisor.set_ready(ready)

    def seconds_to_stop(self) -> float:
        """Return how many seconds the task has left to finish its work; from any thread.

        When 0.0 is returned, cut off what has not finished. The rest of the time until the deadline
        of the stop is reserved for that. The reserve is a quarter of the time that the task had
        when its stop began, and at most one second.

        `math.inf` before the stop of the task, and if the stop has no time limit; a wait of the
        standard library needs ``None`` instead, see `sparts.clock.timeout_of`.
        """
        return self._supervisor.seconds_to_stop()

    # -- to override -------------------------------------------------------------------------------

    def initTask(self) -> None:  # noqa: N802
        """Prepare: read options, open files. Called once, in the lifecycle thread, before any
        start.

        The tasks in ``DEPS`` are initialised already. The default does nothing. `SkipTask` leaves
        the task out; any other exception fails the start, and what was initialised is stopped in
        reverse.
        """

    def initTaskThread(self) -> None:  # noqa: N802
        """Prepare a worker; called in each worker thread before `_runloop`, also at its restart.

        The default does nothing. An exception counts as one of `_runloop`.
        """

    @must_override
    def _runloop(self) -> None:
        """Do the work until it is done or `running` is False; called in each worker thread."""

    def start(self) -> None:
        """Begin to work, without waiting for it; called in the lifecycle thread after every
        `initTask`.

        The default starts the worker threads. An exception fails the start of the service.
        """
        if ours(self).LOOPLESS:
            return
        for index in range(workers := ours(self).workers):
            suffix = f"-{index}" if workers > 1 else ""
            name = ours(self).logger.name + suffix
            self._supervisor.threads.append(self._supervisor.start_worker(name))

    def stop(self) -> None:
        """Ask the workers to end, without waiting for it; called in the lifecycle thread.

        Called once for every task whose `initTask` was called and did not raise, started or not.
        The default sets `stop_event`. An exception is logged, the stop goes on, and the service
        ends with status 1.
        """
        self._supervisor.stop_event.set()

    def join(self) -> None:
        """Wait until the task has ended; called in the lifecycle thread after `stop`.

        The default joins the worker threads. It may block: the service watches the deadline.
        """
        for thread in self._supervisor.threads:
            thread.join()

    def reload(self) -> None:
        """Take in changed files and options (SIGHUP); called in the lifecycle thread.

        The default does nothing. An exception is logged and becomes a warning of the service.
        """

    def check_options(self, options: argparse.Namespace) -> None:
        """Raise `OptionError` if options contradict each other; the change is then refused.

        Called before every change of an option at run time, in the thread that makes it. The
        default does nothing.

        Args:
            options: the namespace with the new values; ``self.options`` has those of before.
        """

    def on_options_changed(self, names: frozenset[str]) -> None:
        """Learn that options changed at run time; only while the task runs.

        Called in the thread that set them, or in the lifecycle thread at a reload, after every
        reader sees the new values. The default does nothing. An exception is logged.

        Args:
            names: what changed of the whole service, as in the namespace: ``http_port``.
        """

    def check(self) -> None:
        """Raise if the task could not run as it is configured; called for ``--dryrun`` alone.

        Called in the main thread on a task that is neither initialised nor started. What server
        tasks listen on is checked without this. The default does nothing. The exception's message
        is printed, and the exit status is 1.
        """

    def on_dependency_restarted(self, task: VTask) -> None:
        """Learn that a task in ``DEPS`` failed and is running again; called in that task's worker
        thread.

        The default does nothing. An exception is logged.
        """

    @classmethod
    def _dependencies(cls) -> Sequence[TaskReference]:
        """Return what this task depends on: ``DEPS``, and whatever a base class adds."""
        return references.listed(cls, "DEPS")

    @classmethod
    def _follows(cls) -> Sequence[type[VTask]]:
        """Return the task types of which this one uses whatever is there; none by default.

        Unlike those in ``DEPS`` they do not come along. All tasks of these types that the service
        has start before this one and stop after it.
        """
        return ()

    def _format_stacks(self) -> str:
        """Return where each thread (and coroutine, in a loop task) of this task is now, as text."""
        return "".join(map(format_thread, self._supervisor.threads))

    @cached_property
    def _call_wrappers(self) -> Sequence[Wrapper]:
        """What plugins wrap the calls of this task in: see `sparts.calls`."""
        kind, collect = self.CALL_KIND, self._instance.hooks.collect
        return collect("sparts_call_wrap", check_wrapper, task=self, kind=kind) if kind else ()

    def _give_up_start(self) -> None:
        """Learn that a stop was asked for while the task is started: wait for nothing any more.

        Called in a thread of its own. The default does nothing; an exception is ignored.
        """

    def _abandoned(self) -> None:
        """Save what can be saved: the task has not stopped in time, and is waited for no longer.

        Called in a thread of its own, for about a second at most, before the process ends. The
        default does nothing. It must not raise.
        """

    def _left_out(self) -> None:
        """End what others wait for: the task will not run.

        Called in the lifecycle thread instead of `stop` and `join`, if `initTask` was not called or
        raised: the task was skipped, or the start ended before it. The default sets `stop_event`.
        It must not raise.
        """
        self._supervisor.stop_event.set()
        self._workers_left()

    def _workers_left(self) -> None:
        """Note that the last worker has left for good, or that none will come; called by it."""

    # -- to use ------------------------------------------------------------------------------------

    @shown
    def healthy(self) -> bool:
        """Whether the task is able to work; override it to look closer.

        Asked in any thread, by systemd's watchdog and by health checks. It must not block. The
        default is True until the task has failed for good; an exception counts as False.
        """
        return self._supervisor.state is not TaskState.DEAD

    @classmethod
    def register(cls) -> type[Self]:
        """Add this task to every service of this process that is started from now on."""
        if cls not in references.registered:
            references.registered.append(cls)
        return cls

    def __repr__(self) -> str:
        return f"<{self._instance.name}.{self._supervisor.name} {self._supervisor.state}>"
