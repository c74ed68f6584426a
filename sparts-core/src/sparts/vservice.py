"""VService: one process. Its life from options to exit status."""

from __future__ import annotations

import logging
import os
import sys
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

from sparts.startup import nothing_collected
from sparts.system import is_imported_by_a_child

with nothing_collected():
    from sparts import entry_points, options, plugins, references
    from sparts.errors import PluginError, UsageError, status_of
    from sparts.established import EstablishedService, TaskReference
    from sparts.kernel import Instance, runner
    from sparts.kernel.runner import ServiceThread
    from sparts.settings import Settings
    from sparts.shown import shown
    from sparts.this_process import errors_shown, open_closed_streams

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence
    from typing import Self

    from sparts.dispatch import Hooks
    from sparts.kernel.health import Health
    from sparts.references import Tasks
    from sparts.stats import Stats

__all__ = ["ServiceThread", "VService"]


class VService(EstablishedService):
    """A long-running service: a process that runs tasks until its stop.

    Name the tasks in ``TASKS`` and call `initFromCLI`.
    """

    TASKS: ClassVar[Sequence[TaskReference]] = ()
    """The tasks: classes or names; see `sparts.vtask.TaskReference`."""
    if TYPE_CHECKING:
        ALL_TASKS: ClassVar[Sequence[TaskReference]]
        """Read as ``TASKS`` is, where a class has it; both may be given."""
        ENV_PREFIX: ClassVar[str | None]
        """What the options' environment variables begin with; else it is ``NAME_`` of the class."""
    VERSION: str = ""
    """The version of the service, which its status page and others of its interfaces show."""
    DEFAULT_LOGFILE: ClassVar[str | None] = None
    """The default of ``--logfile``; None: standard error."""
    DEFAULT_PID: ClassVar[str | None] = None
    """The path of the pid file; None: ``NAME.pid`` in ``/var/run`` or, if not root, elsewhere: see
    `sparts.builtin.daemon.pidfile.default_path`."""
    REGISTER_SIGNAL_HANDLERS: ClassVar[bool] = True
    """False: SIGTERM, SIGINT, SIGHUP and SIGUSR1 are left to the application."""

    _settable: ClassVar[dict[str, tuple[type, ...]]] = {
        "name": (str,),  # as an argument of `initFromCLI` says
        "logger": (logging.Logger,),  # a service may log elsewhere
    }

    _instance: Instance

    def __init__(self, ns: argparse.Namespace) -> None:
        """Make an instance from parsed options, with its task classes resolved; nothing starts yet.

        At a restart, the lifecycle thread of the instance before makes the next one.

        Raises:
            UsageError: a task or a plugin cannot be resolved, or options contradict each other.
        """
        super().__init__()
        hooks = plugins.load_hooks()
        classes = runner.resolve_tasks(type(self), hooks)
        hooks.call("sparts_classes_check", service_class=type(self), tasks=classes)
        asked = Settings.of(type(self), ns).tasks
        self._instance = Instance(self, ns, hooks, references.selected(classes, asked))
        self._instance.ours.check_options(ns)
        if asked != []:  # with no names they are only listed
            left_out = set(classes).difference(self._instance.tasks.task_classes)
            options.check_required(ns, left_out)

    # -- its parts ---------------------------------------------------------------------------------

    if TYPE_CHECKING:
        name: str
        """The name of the service, for loggers and threads; by default that of the class."""
    else:
        name = shown(lambda self: type(self).__name__)

    @shown
    def logger(self) -> logging.Logger:
        """The logger of the service's name."""
        return logging.getLogger(self._instance.name)

    @shown
    def options(self) -> argparse.Namespace:
        """The values of all options; `preprocessOptions` may replace them."""
        return self._instance.options

    @shown
    def tasks(self) -> Tasks:
        """The tasks."""
        return self._instance.tasks

    @shown
    def health(self) -> Health:
        """Where the service is in its life: status, readiness, checks."""
        return self._instance.health

    @shown
    def stats(self) -> Stats:
        """Counters, exported values, and the description of the whole."""
        return self._instance.stats

    @shown
    def hooks(self) -> Hooks:
        """The hook plugins; ``hooks.kept`` is what they keep, also over a restart."""
        return self._instance.hooks

    @shown
    def listeners(self) -> Any:
        """The sockets that the tasks of this process listen on: `sparts.net.listeners.Listeners`.

        Raises:
            UsageError: no task listens, or the built-in plugin that opens them is blocked.
        """
        try:
            return self._instance.hooks.kept["listeners"]
        except KeyError:
            raise UsageError(
                "No task of this service listens on sockets, or the built-in plugin 'listeners', "
                "which opens them, is blocked: see --no-plugin and SPARTS_DISABLE_PLUGINS."
            ) from None

    # -- to override -------------------------------------------------------------------------------

    def initService(self) -> None:  # noqa: N802
        """Prepare the service: called in the lifecycle thread after the tasks are made, before
        `initTask`.

        The default does nothing. An exception fails the start.
        """

    def preprocessOptions(self) -> None:  # noqa: N802
        """Look at or change ``self.options`` before anything uses them; called before
        `initLogging`.

        Called in the lifecycle thread. The default does nothing. An exception ends the process: a
        `UsageError` with status 2, a `SystemExit` with its own.
        """

    def check(self) -> None:
        """Raise if the service could not run as it is configured; called for ``--dryrun`` alone.

        Called in the main thread before any task's `VTask.check`. The default does nothing. The
        exception's message is printed, and the exit status is 1.
        """

    def check_options(self, options: argparse.Namespace) -> None:
        """Raise `OptionError` if options contradict each other; extend it by rules of your own.

        Called when the service is made, after `preprocessOptions`, and before every change at run
        time, which is then refused as a whole. Called in the thread that makes the change. The
        default checks the service's own options, and calls `VTask.check_options` of all tasks.

        Args:
            options: the namespace with the new values; ``self.options`` has those of before.
        """
        self._instance.check_parts(options)

    def on_options_changed(self, names: frozenset[str]) -> None:
        """Learn that options changed at run time; see `VTask.on_options_changed`, which follows."""

    def reload(self) -> None:
        """Take in changed files and options (SIGHUP); called in the lifecycle thread.

        The default calls the hook `sparts_service_reload`. What fails is a warning until the next.
        """
        self._instance.reloading.reload()

    def initLogging(self) -> None:  # noqa: N802
        """Set up logging by the options; override it to bring your own.

        Called in the thread that runs the service, for each instance.
        """
        self._instance.configure_logging()

    @classmethod
    def _makeArgumentParser(cls) -> argparse.ArgumentParser:  # noqa: N802
        """Return an empty parser for the command line; override it to bring your own."""
        from argparse import ArgumentParser  # few starts need it: see `options.sources`

        return ArgumentParser(
            description=cls.__doc__ if "__doc__" in vars(cls) else None,
            allow_abbrev=False,
        )

    @classmethod
    def _buildArgumentParser(cls) -> argparse.ArgumentParser:  # noqa: N802
        """Return the parser with all options of the service and of its tasks."""
        return runner.build_parser(cls, plugins.load_hooks(tolerant=True))

    # -- running -----------------------------------------------------------------------------------

    @classmethod
    def initFromCLI(cls, name: str | None = None) -> NoReturn:  # noqa: N802
        """Run the service as this process, by its command line, until it ends.

        It does nothing, and returns, while a child of `multiprocessing` imports the main module.

        Raises:
            SystemExit: always otherwise. Status 0: it ended in order; 1: a start failed or a task
                crashed; 2: wrong use. A stop that takes too long ends the process with 70 at once.
        """
        if is_imported_by_a_child():
            return  # type: ignore[misc]  # the one case in which it does
        open_closed_streams()
        with errors_shown(os.path.basename(sys.argv[0])):
            entry_points.keep_out(entry_points.named_in(sys.argv[1:]))
            with nothing_collected(for_good=True):
                ns = runner.parse_command_line(cls, None)
            ended = cls._run(ns, name, guard=True)
            if isinstance(ended, int):
                sys.exit(ended)
        runner.end_process(ended)

    @classmethod
    def from_args(cls, argv: Sequence[str] | None = None, name: str | None = None) -> Self:
        """Return a new instance with the options that a command line gives; nothing is started.

        The environment and the configuration files count as for `initFromCLI`. Options that ask for
        something else than a run, such as ``--write-config`` or ``--status``, are options like
        others here: required ones must be given, and only `initFromOptions` acts on them.

        Args:
            argv: the arguments, without the program's name; None: those of the process.
            name: the name of the service; None: that of the class.

        Raises:
            UsageError: a task, a plugin, an argument or another source of options is wrong.
            SystemExit: after ``-h`` and ``--help-all``.
        """
        service = cls(runner.parse_command_line(cls, argv))
        if name:
            service.name = name
        return service

    @classmethod
    def initFromOptions(cls, ns: argparse.Namespace, name: str | None = None) -> int:  # noqa: N802
        """Run the service in this thread until it ends, and return its exit status.

        In the main thread, signals are handled as `initFromCLI` does.

        Raises:
            UsageError: a task or an option is wrong; nothing was started.
        """
        open_closed_streams()
        ended = cls._run(ns, name, guard=False)
        return ended if isinstance(ended, int) else ended.status

    @classmethod
    def _run(cls, ns: argparse.Namespace, name: str | None, guard: bool) -> ServiceThread | int:
        """Do what the options ask for; return how the service ended, or a status if none ran."""
        hooks = plugins.load_hooks()
        status = hooks.call("sparts_service_run", service_class=cls, options=ns, name=name)
        if status is not None:
            return int(status)
        if cls.__init__ is not VService.__init__:  # ours looks at the classes, if it is called
            hooks.call("sparts_classes_check", service_class=cls, tasks=())
        service = cls(ns)
        if name:
            service.name = name
        service._instance.health.owns_process = guard
        if Settings.of(cls, ns).tasks == []:
            print("\n".join(task.__name__ for task in service._instance.tasks))
            return 0
        hooks = service._instance.hooks
        try:
            ended = hooks.call("sparts_process_wrap", service=service)
        except SystemExit as left:  # in the process that started a daemon
            return status_of(left)
        if not isinstance(ended, ServiceThread):
            raise PluginError(f"sparts_process_wrap gave {ended!r}, not what its `yield` gives.")
        if ended.refused and ended.error is not None:
            raise ended.error
        return ended

    def _run_process(self) -> ServiceThread:
        """Run the service in this thread until it ends; see the hook `sparts_process_wrap`."""
        return runner.run_in_this_thread(self)

    def startBG(self) -> ServiceThread:  # noqa: N802
        """Start the service in a thread of its own, and return that thread once every task has
        started.

        Joining the thread waits for the service's end; see `ServiceThread.join` for signals.

        Raises:
            SpartsError: the start failed.
        """
        thread = ServiceThread(self)
        thread.start()
        thread.wait_started()
        return thread

    def shutdown(self) -> None:
        """Ask the service to stop, and return at once. From any thread, in any state.

        Whichever instance of the service lives stops: one that replaced this in a restart, too.
        """
        self._instance.begin_stop("stop")

    def stop(self) -> None:
        """Ask the service to stop, and return at once; the same as `shutdown`."""
        self._instance.begin_stop("stop")

    def restart(self) -> None:
        """Ask for a stop and a new instance from the same options, and return at once."""
        self._instance.begin_stop("restart")

    def join(self, timeout: float | None = None) -> bool:
        """Wait until this instance has ended; False if it has not within ``timeout`` seconds.

        Raises:
            SpartsError: it ended otherwise than in order.
        """
        health = self._instance.health
        if not health.ended.wait(timeout):
            return False
        if health.error is not None:
            raise health.error
        return True

    # -- warnings and checks -----------------------------------------------------------------------

    def add_check(self, name: str, check: Callable[[], object], *, vital: bool = False) -> None:
        """Have transports such as ``/readyz`` ask whether something is well.

        From any thread; as a rule in `VTask.initTask` or `VService.initService`.

        Args:
            name: what it is shown as.
            check: returns False or raises when something is wrong, and what it raises is the
                reason shown. Called in any thread, whenever somebody asks.
            vital: whether a failure says that only a restart helps. Then it makes the service
                unhealthy, too, which supervisors (systemd's watchdog, ``/livez``) act on.

        Raises:
            UsageError: the name is taken, or the check is not a function.
        """
        self._instance.health.add_check(name, check, vital=vital)
