"""VService: one process. Its life from options to exit status."""

from __future__ import annotations

import logging
import os
import queue
import sys
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

from sparts import logs, options, plugins, taskset
from sparts.dryrun import dry_run
from sparts.errors import UsageError
from sparts.health import Health
from sparts.lifecycle import EXIT_CLEAN, EXIT_USAGE, Message
from sparts.listeners import Listeners
from sparts.option_types import duration
from sparts.options import option
from sparts.runner import ServiceThread, run_in_this_thread
from sparts.taskset import TaskReference, Tasks
from sparts.vtask import VTask

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Sequence
    from typing import Self

__all__ = ["ServiceThread", "VService", "VTask"]


class VService(Health):
    """A long-running service: a process that runs tasks until it is told to stop.

    Name the tasks in ``TASKS`` and call `initFromCLI`.
    """

    TASKS: ClassVar[Sequence[TaskReference]] = ()
    """The tasks: classes or names; see `sparts.taskset.TaskReference`."""
    ALL_TASKS: ClassVar[Sequence[TaskReference]] = ()
    """Read as ``TASKS`` is; both may be given."""
    VERSION: str = ""
    DEFAULT_LOGLEVEL: ClassVar[str] = "DEBUG"
    DEFAULT_LOGFILE: ClassVar[str | None] = None
    ENV_PREFIX: ClassVar[str | None] = None
    """What the options' environment variables begin with; None: ``NAME_`` of the class."""
    REGISTER_SIGNAL_HANDLERS: ClassVar[bool] = True
    """False: SIGTERM, SIGINT, SIGHUP and SIGUSR1 are left to the application."""

    level = option(
        type=logs.level_name,
        default=lambda cls: cls.DEFAULT_LOGLEVEL,
        metavar="LEVEL",
        help="how much to log: DEBUG, INFO, WARNING, ERROR or CRITICAL",
    )
    logfile = option(
        type=str,
        default=lambda cls: cls.DEFAULT_LOGFILE,
        metavar="FILE",
        help="log to this file instead of standard error",
        reloadable=False,
    )
    log_format = option(
        default="text",
        choices=logs.FORMATS,
        help="what a log line is: text or a JSON object",
        reloadable=False,
    )
    log_level_for = option(
        type=logs.level_for,
        action="append",
        metavar="NAME=LEVEL",
        help="the level of one logger, such as tornado.access=INFO; may be repeated",
    )
    selected_tasks = option(
        "tasks",
        nargs="*",
        metavar="NAME",
        help="run only these tasks and what they need; no name: list the tasks",
        reloadable=False,
    )
    dryrun = option(
        action="store_true",
        default=False,
        help="check options, tasks and what they need, print what would run, and exit",
        reloadable=False,
    )
    start_timeout = option(
        type=duration, metavar="DURATION", help="how long the start may take before it fails"
    )
    stop_timeout = option(
        type=duration,
        default=25.0,
        metavar="DURATION",
        help="how long the stop may take before the process ends with status 70",
    )
    drain_time = option(
        type=duration,
        default=0.0,
        metavar="DURATION",
        help="how long to go on serving, not ready any more, before the stop",
    )

    def __init__(self, ns: argparse.Namespace) -> None:
        """Make an instance from parsed options, with its task classes resolved; nothing starts yet.

        Raises:
            UsageError: a task or a plugin cannot be resolved, or options contradict each other.
        """
        super().__init__()
        self.options = ns
        self.name = type(self).__name__
        """The name of the service, for its loggers and threads; the name of the class by
        default."""
        self.inbox: queue.SimpleQueue[Message] = queue.SimpleQueue()
        self.listeners = Listeners()
        self.restarting = False
        """Whether the service is being stopped to be started anew."""
        self.error: BaseException | None = None
        """Why this instance ended otherwise than in order."""
        self._logging: logs.Logging | None = None
        self.hooks = plugins.load_hooks()
        classes = self.resolve_tasks(self.hooks)
        self.tasks = Tasks(_selected(classes, getattr(ns, "tasks", None)))

    # -- to override -------------------------------------------------------------------------------

    def initService(self) -> None:  # noqa: N802
        """Prepare the service: called in the lifecycle thread after the tasks are made, before
        `initTask`.

        The default does nothing. An exception fails the start.
        """

    def preprocessOptions(self) -> None:  # noqa: N802
        """Look at or change ``self.options`` before anything uses them; called before
        `initLogging`.

        Called in the thread that runs the service. The default does nothing. An exception ends the
        process: a `UsageError` with status 2.
        """

    def initLogging(self) -> None:  # noqa: N802
        """Set up logging by the options; override it to bring one's own.

        Called in the thread that runs the service, for each instance.
        """
        self._logging = logs.configure(
            self.name,
            level=self.level,
            logfile=self.logfile,
            format=self.log_format,
            levels=self.log_level_for or (),
            package=type(self).__module__,
            source=options.source_of(self.options, "logfile").name,
        )

    def check(self) -> None:
        """Raise if the service could not run as it is configured; called for ``--dryrun`` alone.

        Called in the main thread before any task's `VTask.check`. The default does nothing. The
        exception's message is printed, and the exit status is 1.
        """

    def on_options_changed(self, names: frozenset[str]) -> None:
        """Learn that options changed at run time; see `VTask.on_options_changed`, told after it."""

    @classmethod
    def _makeArgumentParser(cls) -> argparse.ArgumentParser:  # noqa: N802
        """Return an empty parser for the command line; override it to bring one's own."""
        import argparse

        return argparse.ArgumentParser(description=cls.__doc__ if "__doc__" in vars(cls) else None)

    @classmethod
    def _buildArgumentParser(cls) -> argparse.ArgumentParser:  # noqa: N802
        """Return the parser with all options of the service and of its tasks."""
        parser = cls._makeArgumentParser()
        options.add_options(parser, cls, cls.resolve_tasks(plugins.load_hooks()))
        return parser

    @classmethod
    def resolve_tasks(cls, hooks: plugins.Hooks) -> list[type[VTask]]:
        """Return the classes of this service's tasks and of what they depend on, in start order.

        Raises:
            UsageError: a task cannot be resolved; see `sparts.taskset.resolve_all`.
        """
        more = hooks.call("sparts_service_tasks", service_class=cls)
        contributed = [task for tasks in more for task in tasks]
        return taskset.resolve_all(
            dict.fromkeys([*cls.ALL_TASKS, *cls.TASKS, *contributed, *taskset.registered])
        )

    # -- running -----------------------------------------------------------------------------------

    @classmethod
    def initFromCLI(cls, name: str | None = None) -> NoReturn:  # noqa: N802
        """Run the service as this process, by its command line, until it ends.

        Raises:
            SystemExit: always. Status 0: it ended in order; 1: a start failed or a task crashed; 2:
                wrong use. A stop that takes too long ends the process with 70 at once.
        """
        try:
            ns = options.parse_options(cls._buildArgumentParser())
            if ns.dryrun:
                sys.exit(dry_run(cls, ns, name))
            runner = cls._run(ns, name, guard=True)
        except UsageError as error:
            sys.stderr.write(f"{os.path.basename(sys.argv[0])}: error: {error}\n")
            sys.exit(EXIT_USAGE)
        if runner is not None and runner.hung:
            logging.shutdown()
            os._exit(runner.status)
        sys.exit(runner.status if runner else EXIT_CLEAN)

    @classmethod
    def initFromOptions(cls, ns: argparse.Namespace, name: str | None = None) -> int:  # noqa: N802
        """Run the service in this thread until it ends, and return its exit status.

        In the main thread, signals are handled as `initFromCLI` does.

        Raises:
            UsageError: a task or an option is wrong; nothing was started.
        """
        if getattr(ns, "dryrun", False):
            return dry_run(cls, ns, name)
        runner = cls._run(ns, name, guard=False)
        return runner.status if runner else EXIT_CLEAN

    @classmethod
    def _run(cls, ns: argparse.Namespace, name: str | None, guard: bool) -> ServiceThread | None:
        service = cls(ns)
        service.name = name or service.name
        if getattr(ns, "tasks", None) == []:
            print("\n".join(task.__name__ for task in service.tasks))
            return None
        runner = run_in_this_thread(service, guard)
        if isinstance(runner.error, UsageError):
            raise runner.error
        return runner

    def startBG(self) -> ServiceThread:  # noqa: N802
        """Start the service in a thread of its own, and return that thread once every task has
        started.

        Signal handlers are left alone. Joining the thread waits for the service's end.

        Raises:
            SpartsError: the start failed.
        """
        thread = ServiceThread(self)
        thread.start()
        thread.wait_started()
        return thread

    def shutdown(self) -> None:
        """Ask the service to stop, and return at once. From any thread, in any state."""
        self.inbox.put(Message("stop", self))

    def stop(self) -> None:
        """Ask the service to stop, and return at once; the same as `shutdown`."""
        self.shutdown()

    def restart(self) -> None:
        """Ask for this instance to be stopped and a new one started from the same options; return
        at once."""
        self.inbox.put(Message("restart", self))

    def join(self, timeout: float | None = None) -> bool:
        """Wait until this instance has ended; False if it has not within ``timeout`` seconds.

        Raises:
            SpartsError: it ended otherwise than in order.
        """
        if not self.ended.wait(timeout):
            return False
        if self.error is not None:
            raise self.error
        return True

    # -- identity and options ----------------------------------------------------------------------

    @property
    def logger(self) -> logging.Logger:
        """The logger of the service's name."""
        return logging.getLogger(self.name)

    @property
    def loglevel(self) -> int:
        """The level that is logged from, as a number of the logging module."""
        return int(logging.getLevelName(self.level))

    @classmethod
    def option_prefix(cls) -> str:
        """Return ``""``: the service's own options have no prefix."""
        return ""

    def getOption(self, name: str, default: Any = None) -> Any:  # noqa: N802
        """Return an option's value by its name in the namespace (``http_port``), or ``default``."""
        return getattr(self.options, name.replace("-", "_"), default)

    def setOption(self, name: str, value: Any) -> None:  # noqa: N802
        """Set an option by its name in the namespace; whoever reads it next gets the new value.

        Tasks learn of it (`VTask.on_options_changed`) in the calling thread, before this returns.

        Raises:
            OptionError: there is no such option, the value is not one for it, or it may not change
                at run time.
        """
        options.set_option(self, name.replace("-", "_"), value)

    def getOptions(self) -> dict[str, Any]:  # noqa: N802
        """Return the values of all options by name, secret ones masked."""
        return self.describe_options()

    # -- tasks -------------------------------------------------------------------------------------

    def instances(self) -> list[VTask]:
        """Return the tasks, once they are made, in start order."""
        return [task for task in self.tasks if not isinstance(task, type)]

    def getTask(self, task: str | type[VTask]) -> Any:  # noqa: N802
        """Return the task of a name or class, or None."""
        return self.tasks.get(task)

    def requireTask(self, task: str | type[VTask]) -> Any:  # noqa: N802
        """Return the task of a name or class.

        Raises:
            KeyError: there is none; the message names those that there are.
        """
        return self.tasks.require(task)

    # -- called by the lifecycle and the runner ----------------------------------------------------

    def create_tasks(self) -> None:
        """Make the tasks and open what they listen on; in the lifecycle thread."""
        self.hooks.call("sparts_service_create", service=self)
        self.tasks.create(self)
        self.initService()
        self.listeners.open(self.instances())

    def reload(self) -> None:
        """Reopen the log file, read the configuration again, tell the tasks; in the lifecycle
        thread."""
        if self._logging is not None:
            self._logging.reopen()
        try:
            options.reload_options(self)
        except UsageError as error:
            self.logger.error("The options stay as they were: %s", error)

    def options_changed(self, names: frozenset[str]) -> None:
        """Act on options that changed, then tell the tasks that run and the service."""
        if self._logging is not None and names & {"level", "log_level_for"}:
            self._logging.set_levels(self.level, self.log_level_for or ())
        owners: list[Any] = [task for task in self.instances() if task.running]
        for owner in (*owners, self):
            try:
                owner.on_options_changed(names)
            except Exception:
                owner.logger.exception("%s could not take its changed options", owner.name)

    def successor(self) -> Self:
        """Return a new instance from the same options, which takes over what is the process's."""
        new = type(self)(self.options)
        new.name, new.inbox, new.listeners = self.name, self.inbox, self.listeners
        return new

    def finish(self, error: BaseException | None) -> None:
        """Note that this instance has ended, with an error or in order."""
        self.error = error
        if self._logging is not None:
            self._logging.close()
        self.ended.set()
        self.readiness_changed()


def _selected(classes: list[type[VTask]], names: Iterable[str] | None) -> list[type[VTask]]:
    """Return the classes that ``--tasks`` asks for; all if it was not given or only lists them."""
    wanted = set(names or ())
    if not wanted:
        return classes
    known = {task.__name__: task for task in classes}
    for name in wanted - known.keys():
        import difflib

        near = difflib.get_close_matches(name, known, n=1)
        hint = f"Did you mean {near[0]!r}?" if near else f"Its tasks: {', '.join(known) or 'none'}."
        raise UsageError(f"--tasks: this service has no task {name!r}. {hint}")
    return [task for task in classes if task.__name__ in wanted]
