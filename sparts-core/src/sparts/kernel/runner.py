"""Runs a service: from its command line, one instance after the other, in a thread or as the
process.
"""

from __future__ import annotations

import os
import sys
import threading
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Any, NoReturn

from sparts import options, plugins, references
from sparts.errors import log_thread_end
from sparts.inbox import Inbox, Message, SignalHandlers
from sparts.kernel.lifecycle import Lifecycle
from sparts.options import sources
from sparts.shown import brings_parser
from sparts.this_process import guard_exit, run_in_new_thread

if TYPE_CHECKING:
    import argparse
    import signal
    from collections.abc import Sequence

    from sparts.dispatch import Hooks
    from sparts.kernel import Instance
    from sparts.protocols import Service, Task

# -- its command line ------------------------------------------------------------------------------


def build_parser(cls: Any, hooks: Hooks) -> argparse.ArgumentParser:
    """Return the parser with all options of the service, its tasks and these plugins.

    Raises:
        UsageError: a task cannot be resolved, or options contradict each other.
    """
    from sparts.options import arguments

    parser: argparse.ArgumentParser = cls._makeArgumentParser()
    owners, tasks, found = _find_options(cls, hooks)
    arguments.add_options(parser, cls, owners)
    arguments.add_own_arguments(parser, [cls, *tasks])
    arguments.use_plugins(parser, found)
    return parser


def parse_command_line(cls: Any, argv: Sequence[str] | None) -> argparse.Namespace:
    """Return the options of a service by its command line, with a parser only if it takes one.

    Raises:
        UsageError: a task, a plugin, an argument or another source of options is wrong.
        SystemExit: after ``-h`` and the like.
    """
    owners, tasks, found = _find_options(cls, plugins.load_hooks(tolerant=True))
    own = any(map(brings_parser, (cls, *tasks)))
    ns = None if own else sources.parse_plainly(cls, owners, argv, found)
    return options.parse_options(cls._buildArgumentParser(), argv) if ns is None else ns


def _find_options(cls: Any, hooks: Hooks) -> tuple[list[type], list[type[Task]], sources.Plugins]:
    """Return the classes with options beside the service, its tasks, and what plugins need."""
    groups = hooks.collect("sparts_options_add", options.checked_group, service_class=cls)
    blocked = {g: n for g, n in plugins.blocked_options(cls).items() if g not in groups}
    own = [group for group in groups if not options.prefix_of(group)]
    others = [group for group in groups if options.prefix_of(group)]
    tasks = resolve_tasks(cls, hooks)

    def find_sources(ns: argparse.Namespace) -> list[options.OptionSource]:
        hooks.tolerant = False  # -h has ended by now
        add = sources.checked_source
        return hooks.collect("sparts_sources_add", add, service_class=cls, options=ns)

    found = sources.Plugins(hooks.broken, blocked, find_sources)
    return [*own, *blocked, *tasks, *others], tasks, found


def resolve_tasks(cls: Any, hooks: Hooks) -> list[type[Task]]:
    """Return the classes of this service's tasks and of what they depend on, in start order.

    Raises:
        UsageError: a task cannot be resolved; see `sparts.references.resolve_all`.
    """
    contributed = hooks.collect("sparts_tasks_add", references.resolve, service_class=cls)
    own, added = references.of_class(cls), references.registered
    return references.resolve_all(dict.fromkeys([*own, *contributed, *added]))


# -- its life --------------------------------------------------------------------------------------


class ServiceThread(threading.Thread):
    """The thread of a service that runs in the background; `join` raises what ended it badly.

    Args:
        service: a new instance.
    """

    def __init__(self, service: Service) -> None:
        self._instance: Instance = service._instance
        super().__init__(name=f"{self._instance.name} supervisor")
        self.status: int = 0
        """The exit status that the end of the service asks for."""
        self.error: BaseException | None = None
        """What ended the service otherwise than in order."""
        self.hung: bool = False
        """Whether something did not end in time and was left behind."""
        self.refused: bool = False
        """Whether the options or the logging were wrong, so that nothing was started."""
        self._run_aside: Any = run_in_new_thread
        self._succeeded = False
        self._settled = threading.Event()
        self._over = threading.Event()
        self._signals = Inbox()  # of a main thread that joins this one

    @property
    def service(self) -> Any:
        """The instance that runs now; a restart makes a new one."""
        return self._instance.service

    def run(self) -> None:
        """Be the body of the thread: run the service until it ends."""
        self.drive()
        self._instance.inbox.close()
        self._over.set()
        self._signals.put(Message("over"))

    def drive(self) -> None:
        """Run instances, in the current thread, until one ends that is not to be restarted."""
        try:
            self._instance.inbox.open()
            while (successor := self._run_instance()) is not None:
                self._instance = successor
        except BaseException as error:  # the system gives no descriptors or threads
            self.status, self.error = self.status or 1, error
            self._instance.logger.critical("%s failed", self._instance.name, exc_info=error)
            self._instance.close_logging()
            self._instance.health.finish(error)
        finally:
            if (listeners := self._instance.hooks.kept.get("listeners")) is not None:
                listeners.close()
            self._settled.set()

    def _run_instance(self) -> Instance | None:
        """Run one instance; return the one that comes next."""
        life = Lifecycle(self._instance, self._start_succeeded)
        successor, ending = life.run(), life.ending
        self.status, self.error, self.refused = ending.status, ending.error, ending.refused
        self.hung, self._run_aside = life.hung, life.reporter.put
        self._instance.health.finish(ending.error)
        return successor

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

        In the main thread, SIGTERM and SIGINT stop the service meanwhile, unless the application
        handles them or the service leaves them to it (``REGISTER_SIGNAL_HANDLERS``).

        Raises:
            SpartsError: it ended otherwise than in order.
        """
        main = threading.current_thread() is threading.main_thread()
        if main and self.is_alive() and self._instance.ours.REGISTER_SIGNAL_HANDLERS:
            self._wait_with_signals(timeout)
            timeout = None if self._over.is_set() else 0.0
        super().join(timeout)
        if not self.is_alive() and self.error is not None:
            raise self.error

    def _wait_with_signals(self, timeout: float | None) -> None:
        """Wait for the end, and hand the service the signals that would end this process."""
        deadline, came = None if timeout is None else monotonic() + timeout, self._signals
        came.open()
        try:
            with SignalHandlers(partial(_put, came), came.wakeup, stops=True):
                while not self._over.is_set():
                    left = None if deadline is None else deadline - monotonic()
                    if (message := came.get(left)) is None:
                        break
                    self._instance.inbox.put(message)
        finally:
            came.close()


def _put(inbox: Inbox, number: signal.Signals) -> None:
    inbox.put_from_signal(Message("signal", None, number))


def run_in_this_thread(service: Service) -> ServiceThread:
    """Run a service in the current thread until it ends; return how it ended.

    In the main thread, signals are handled; only ^C if the service leaves them to the application.

    Args:
        service: a new instance.
    """
    instance: Instance = service._instance
    inbox = instance.inbox

    runner, guard = ServiceThread(service), instance.health.owns_process
    main = threading.current_thread() is threading.main_thread()
    if not main:
        runner.run()
        return runner
    inbox.open()
    if guard:
        threading.excepthook = partial(log_thread_end, instance.logger)
    ours = instance.ours.REGISTER_SIGNAL_HANDLERS
    with SignalHandlers(partial(_put, inbox), inbox.wakeup, ours) as handlers:
        runner.drive()
        if guard and ours:  # signals may come until the process has ended: they find the inbox open
            handlers.exit_with(runner.status)
    if not (guard and ours):
        inbox.close()
    return runner


def end_process(runner: ServiceThread) -> NoReturn:
    """Exit with the status of a service that has ended.

    What hangs is not waited for. All that Python does at its exit is: threads of others that are no
    daemons, exit handlers, children of multiprocessing. That may take what is left of the time for
    the stop, and at least `this_process.LEAST_EXIT_TIME`. Then all stacks are shown and the status
    is 70.

    Raises:
        SystemExit: always, if the process is not ended at once.
    """
    if runner.hung:
        os._exit(runner.status)  # what was buffered has been written by now, or cannot be
    instance: Instance = runner.service._instance
    if timeout := instance.settings.stop_timeout:
        deadline = instance.health.stop_deadline or monotonic() + timeout
        guard_exit(deadline - monotonic(), runner._run_aside)
    sys.exit(runner.status)
