"""VService: one process. Its life from options to exit status."""

from __future__ import annotations

import logging
import os
import sys
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

from sparts import options, plugins
from sparts.errors import SpartsError, UsageError, message_of, text_of, traceback_of
from sparts.established import EstablishedService, add_own_arguments
from sparts.kernel import taskset
from sparts.kernel.health import Health
from sparts.kernel.inbox import Inbox, Message
from sparts.kernel.phases import EXIT_CLEAN, EXIT_FAILURE, EXIT_USAGE
from sparts.kernel.runner import (
    ServiceThread,
    end_process,
    is_imported_by_a_child,
    run_in_this_thread,
)
from sparts.kernel.service_options import ServiceOptions
from sparts.kernel.taskset import Tasks
from sparts.masking import masked
from sparts.protocols import TaskReference
from sparts.standard_streams import command_output, complain, open_closed_streams
from sparts.vtask import VTask

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterable, Sequence
    from typing import Self

    from sparts.net.listeners import Listeners
    from sparts.plugins.dispatch import Hooks

__all__ = ["ServiceThread", "VService", "VTask"]


class VService(ServiceOptions, Health, EstablishedService):
    """A long-running service: a process that runs tasks until it is told to stop.

    Name the tasks in ``TASKS`` and call `initFromCLI`.
    """

    TASKS: ClassVar[Sequence[TaskReference]] = ()
    """The tasks: classes or names; see `sparts.vtask.TaskReference`."""
    ALL_TASKS: ClassVar[Sequence[TaskReference]] = ()
    """Read as ``TASKS`` is; both may be given."""
    VERSION: str = ""
    REGISTER_SIGNAL_HANDLERS: ClassVar[bool] = True
    """False: SIGTERM, SIGINT, SIGHUP and SIGUSR1 are left to the application."""

    def __init__(self, ns: argparse.Namespace) -> None:
        """Make an instance from parsed options, with its task classes resolved; nothing starts yet.

        At a restart, the lifecycle thread of the instance before makes the next one.

        Raises:
            UsageError: a task or a plugin cannot be resolved, or options contradict each other.
        """
        super().__init__()
        self.options = ns
        self.name: str = type(self).__name__
        """The name of the service, for loggers and threads; by default that of the class."""
        self.inbox: Inbox = Inbox()
        self.plugin_data: dict[str, Any] = {}
        """What hook plugins keep, each under its name, also over a restart."""
        self.owns_process = False
        """Whether the process belongs to the service (`initFromCLI`), and may be ended with it."""
        self.restarting = False
        """Whether the service is being stopped to be started anew."""
        self.error: BaseException | None = None
        """Why this instance ended otherwise than in order."""
        self.hooks: Hooks = plugins.load_hooks()
        classes = self.resolve_tasks(self.hooks)
        self.hooks.call("sparts_classes_check", service_class=type(self), tasks=classes)
        selected = getattr(ns, "tasks", None)
        self.tasks: Tasks = Tasks(_selected(classes, selected))
        self.check_options(ns)
        if selected != []:  # with no names they are only listed
            options.check_required(ns, set(classes).difference(self.tasks.task_classes))

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

    @classmethod
    def _makeArgumentParser(cls) -> argparse.ArgumentParser:  # noqa: N802
        """Return an empty parser for the command line; override it to bring one's own."""
        import argparse

        return argparse.ArgumentParser(
            description=cls.__doc__ if "__doc__" in vars(cls) else None,
            formatter_class=options.HelpFormatter,
            allow_abbrev=False,
        )

    @classmethod
    def _buildArgumentParser(cls) -> argparse.ArgumentParser:  # noqa: N802
        """Return the parser with all options of the service and of its tasks."""
        return cls.build_parser(plugins.load_hooks(tolerant=True))

    @classmethod
    def build_parser(cls, hooks: Hooks) -> argparse.ArgumentParser:
        """Return the parser with all options of the service, its tasks and these plugins.

        Raises:
            UsageError: a task cannot be resolved, or options contradict each other.
        """
        parser = cls._makeArgumentParser()
        groups = hooks.collect("sparts_options_add", options.checked_group, service_class=cls)
        blocked = [group for group in plugins.blocked_options(cls) if group not in groups]
        own = [group for group in groups if not group.option_prefix()]
        others = [group for group in groups if group.option_prefix()]
        tasks = cls.resolve_tasks(hooks)
        options.add_options(parser, cls, [*own, *blocked, *tasks, *others])
        add_own_arguments(parser, [cls, *tasks])
        options.refuse_all_but_help(parser, hooks.broken)
        options.refuse_options(parser, blocked)

        def find_sources(ns: argparse.Namespace) -> list[options.OptionSource]:
            hooks.tolerant = False  # -h has ended by now
            add = options.checked_source
            return hooks.collect("sparts_sources_add", add, service_class=cls, options=ns)

        options.use_sources(parser, find_sources)
        return parser

    @classmethod
    def resolve_tasks(cls, hooks: Hooks) -> list[type[VTask]]:
        """Return the classes of this service's tasks and of what they depend on, in start order.

        Raises:
            UsageError: a task cannot be resolved; see `sparts.kernel.taskset.resolve_all`.
        """
        contributed = hooks.collect("sparts_tasks_add", taskset.resolve, service_class=cls)
        return taskset.resolve_all(
            dict.fromkeys([*cls.ALL_TASKS, *cls.TASKS, *contributed, *taskset.registered])
        )

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
        try:
            with command_output():
                plugins.keep_out(plugins.named_in(sys.argv[1:]))
                ns = options.parse_options(cls._buildArgumentParser())
                ended = cls._run(ns, name, guard=True)
                if isinstance(ended, int):
                    sys.exit(ended)
        except SpartsError as error:
            complain(f"{os.path.basename(sys.argv[0])}: error: {message_of(error)}")
            sys.exit(EXIT_USAGE if isinstance(error, UsageError) else EXIT_FAILURE)
        except SystemExit as left:
            if isinstance(left.code, int | None):
                raise
            complain(masked(text_of(left.code)))  # Python would show it with its secrets
            sys.exit(EXIT_FAILURE)
        except Exception as error:  # the same
            complain(traceback_of(error))
            sys.exit(EXIT_FAILURE)
        end_process(ended)

    @classmethod
    def from_args(cls, argv: Sequence[str] | None = None, name: str | None = None) -> Self:
        """Return a new instance with the options that a command line gives; nothing is started.

        The environment and the configuration files count as for `initFromCLI`.

        Args:
            argv: the arguments, without the program's name; None: those of the process.
            name: the name of the service; None: that of the class.

        Raises:
            UsageError: a task, a plugin, an argument or another source of options is wrong.
            SystemExit: after ``-h``, ``--show-config`` and the like.
        """
        service = cls(options.parse_options(cls._buildArgumentParser(), argv))
        service.name = name or service.name
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
        service = cls(ns)
        service.name, service.owns_process = name or service.name, guard
        if getattr(ns, "tasks", None) == []:
            print("\n".join(task.__name__ for task in service.tasks))
            return EXIT_CLEAN
        try:
            runner: ServiceThread = service.hooks.call("sparts_process_wrap", service=service)
        except SystemExit as left:  # in the process that started a daemon
            return left.code if isinstance(left.code, int) else int(left.code is not None)
        if runner.refused and runner.error is not None:
            raise runner.error
        return runner

    def run_process(self) -> ServiceThread:
        """Run the service in this thread until it ends; see the hook `sparts_process_wrap`."""
        return run_in_this_thread(self)

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
        self._stop_asked = True
        self.inbox.put(Message("stop"))

    def stop(self) -> None:
        """Ask the service to stop, and return at once; the same as `shutdown`."""
        self.shutdown()

    def restart(self) -> None:
        """Ask for a stop and a new instance from the same options, and return at once."""
        self._stop_asked = True
        self.inbox.put(Message("restart"))

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

    # -- identity ----------------------------------------------------------------------

    @property
    def logger(self) -> logging.Logger:
        """The logger of the service's name."""
        return logging.getLogger(self.name)

    @property
    def listeners(self) -> Listeners:
        """The sockets that the tasks of this process listen on.

        Raises:
            UsageError: the built-in plugin that opens them is blocked.
        """
        try:
            found: Listeners = self.plugin_data["listeners"]
        except KeyError:
            raise UsageError(
                "A task of this service listens on sockets, which the built-in plugin 'listeners' "
                "opens. It is blocked: see --no-plugin and SPARTS_DISABLE_PLUGINS."
            ) from None
        return found

    # -- tasks -------------------------------------------------------------------------------------

    def instances(self) -> list[VTask]:
        """Return the tasks, once they are made, in start order."""
        return [task for task in self.tasks if not isinstance(task, type)]

    def getTask(self, task: TaskReference) -> Any:  # noqa: N802
        """Return the task of a name or class, or None."""
        return self.tasks.get(task)

    def requireTask(self, task: TaskReference) -> Any:  # noqa: N802
        """Return the task of a name or class.

        Raises:
            KeyError: there is none; the message names those that there are.
        """
        return self.tasks.require(task)

    # -- called by the lifecycle and the runner ----------------------------------------------------

    def create_tasks(self) -> None:
        """Make the tasks and open what they listen on; in the lifecycle thread."""
        self.warn_of_deprecated_options()
        self.hooks.collect("sparts_service_create", service=self)
        self.tasks.create(self)
        self.take_contributions()
        self.initService()
        self.hooks.call("sparts_sockets_bind", service=self)
        self.hooks.call("sparts_privileges_drop", service=self)

    def call_later(self, seconds: float, function: Callable[[], object]) -> None:
        """Have the lifecycle thread call a function after some seconds; from any thread.

        What it raises ends the service.
        """
        name = f"{id(function):#x}"
        self.inbox.put(Message("later", self, (name, seconds, function)))

    def successor(self) -> Self:
        """Return a new instance from the same options, which takes over what is the process's."""
        new = type(self)(self.options)
        new.name, new.inbox = self.name, self.inbox
        new.plugin_data, new.owns_process = self.plugin_data, self.owns_process
        new._log_ends = self._log_ends
        return new

    def finish(self, error: BaseException | None) -> None:
        """Note that this instance has ended, with an error or in order."""
        self.error = error
        self.ended.set()
        if self.changing.acquire(timeout=0.5):  # a hook that hangs may hold it
            self.wake_waiting()
            self.changing.release()


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
