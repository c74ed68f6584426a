"""What runs a service. Here: what the kernel keeps of one instance, past names of subclasses.

A restart makes the next instance from the same options.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, TypeAlias

from sparts.errors import SkipTask, call_plain, log_error, message_of
from sparts.inbox import Inbox, Message
from sparts.kernel.health import Health
from sparts.options.sources import warn_of_deprecated
from sparts.references import Tasks, missing_of, needs_of
from sparts.settings import Reloading, Settings
from sparts.shown import ours, warn_of_overwritten
from sparts.states import TaskState
from sparts.stats import Stats

if TYPE_CHECKING:
    import argparse
    import logging
    from collections.abc import Callable, Iterable, Iterator

    from sparts.dispatch import Hooks
    from sparts.kernel.supervision import Supervisor
    from sparts.protocols import Service, Task

    Step: TypeAlias = Callable[[str, Supervisor], None]


class Instance:
    """The parts of one instance of a service, and the steps of its life that are its own.

    Args:
        service: the service, not yet made.
        options: its options.
        hooks: the plugins.
        classes: the classes of its tasks, in start order.
    """

    def __init__(
        self, service: Service, options: argparse.Namespace, hooks: Hooks, classes: list[Any]
    ) -> None:
        self.service = service
        self.service_class: type[Any] = type(service)
        self.ours: Service = ours(service)
        """The service, past what its class has overwritten: see `sparts.shown`."""
        self.options: argparse.Namespace = options
        self.settings: Settings = Settings(self)
        """The options of the kernel."""
        self.hooks = hooks
        self.running: RunningTasks = RunningTasks(hooks)
        self.tasks: Tasks = Tasks(classes, self.running)
        self.health: Health = Health(service, hooks, Inbox(), lambda: self.running)
        self.stats: Stats = Stats(service, self.health, lambda: self.running)
        self.reloading: Reloading = Reloading(self)
        self._log_ends: list[Callable[[], object]] = []
        self._warned: set[tuple[int, str]] = set()

    @property
    def inbox(self) -> Inbox:
        """Where its supervising thread waits; the same one after a restart."""
        return self.health.inbox

    @property
    def name(self) -> str:
        """The name of the service."""
        return str(self.ours.name)

    @property
    def logger(self) -> logging.Logger:
        """Where the kernel logs what concerns the service."""
        return self.ours.logger

    # -- its options -------------------------------------------------------------------------------

    def check_options(self, options: argparse.Namespace) -> None:
        """Raise `OptionError` if options contradict each other."""
        self.ours.check_options(options)

    def check_parts(self, options: argparse.Namespace) -> None:
        """Check the kernel's own options, and those of each task."""
        Settings.of(self.service_class, options).check()
        for task in self.running:
            task.ours.check_options(options)

    def options_changed(self, names: frozenset[str]) -> None:
        """Act on changed options, and report them."""
        self.reloading.options_changed(names)

    def preprocess_options(self) -> None:
        """Let the service look at its options, and check them; in the lifecycle thread."""
        call_plain(self.ours.preprocessOptions)
        if (replaced := vars(self.service).get("options")) is not None:
            from argparse import Namespace

            if isinstance(replaced, Namespace):
                self.options = replaced
                del vars(self.service)["options"]
        self.ours.check_options(self.options)

    # -- its life; in the lifecycle thread ---------------------------------------------------------

    def configure_logging(self) -> None:
        """Set up logging, as the built-in plugin or another does."""
        found = self.hooks.call("sparts_logging_configure", service=self.service)
        self._log_ends = [end for end in found or () if callable(end)]

    def close_logging(self) -> None:
        """Undo it, when the last instance has ended; in any thread."""
        for end in reversed(self._log_ends):
            end()

    def create(self) -> None:
        """Make the tasks and open what they listen on."""
        warn_of_deprecated(self.options, self.logger)
        self.hooks.collect("sparts_service_create", service=self.service)
        self.tasks.create(self.service)
        self.stats.take_contributions(self.hooks)
        call_plain(self.ours.initService)
        self.hooks.call("sparts_sockets_bind", service=self.service)
        self.hooks.call("sparts_privileges_drop", service=self.service)

    def warn_of_overwritten(self) -> None:
        """Log, once for each, which public names of ours the service and its tasks overwrite."""
        for owner in (self.service, *self.running.tasks().values()):
            warn_of_overwritten(owner, self._warned)

    def begin_stop(self, kind: str) -> None:
        """Ask for a stop or a restart; from any thread, in any state."""
        self.health.stop_asked = True
        self.inbox.put(Message(kind))

    def successor(self) -> Instance:
        """Return a new instance from the same options, which takes over what is the process's."""
        service = self.service_class(self.options)
        service.name = self.name
        new: Instance = service._instance
        new.health.inbox, new.hooks.kept = self.inbox, self.hooks.kept
        new.health.owns_process, new._log_ends = self.health.owns_process, self._log_ends
        return new


# -- its tasks -------------------------------------------------------------------------------------


class RunningTasks:
    """The supervisors of the tasks of one instance of a service, in start order.

    Whatever begins or ends tasks is called in the lifecycle thread of the service.

    Args:
        hooks: called around each step of a task's life.
    """

    def __init__(self, hooks: Hooks | None = None) -> None:
        self.made: bool = False
        """Whether the tasks have been made."""
        self._hooks: Any = hooks
        self._all: dict[str, Any] = {}  # replaced at each change: other threads read it
        self._initialised: dict[Supervisor, None] = {}
        self._started: set[Supervisor] = set()

    def __iter__(self) -> Iterator[Supervisor]:
        return iter([task._supervisor for task in self._all.values()])

    def tasks(self) -> dict[str, Task]:
        """Return the tasks by name, in start order, to read only."""
        return self._all

    def dependencies(self, task: type[Task]) -> list[Supervisor]:
        """Return the tasks that a class depends on, or follows, directly."""
        return [need._supervisor for need in needs_of(task, self._all)]

    def dependants(self, task: Task) -> list[Supervisor]:
        """Return the tasks that depend on a task directly."""
        mine = self._all.get(type(task).__name__)
        return [each for each in self if mine in needs_of(type(each.task), self._all)]

    def create(self, classes: Iterable[Callable[[Any], Any]], service: Any) -> None:
        """Make an instance of every class, in start order."""
        self.made = True
        for make in classes:
            task = make(service)
            self._all = self._all | {task._supervisor.name: task}

    def replace(self, old: Task, new: Any) -> None:
        """Put a new instance, not yet initialised, in the place of one that has stopped."""
        supervisor: Supervisor = new._supervisor
        self._all = self._all | {supervisor.name: new}
        self._initialised = {supervisor if e.task is old else e: None for e in self._initialised}

    def remove(self, name: str) -> None:
        """Take a task out; what was initialised is stopped all the same."""
        supervisor = self._all[name]._supervisor
        self._all = {key: task for key, task in self._all.items() if key != name}
        if supervisor not in self._initialised:
            supervisor.state = TaskState.SKIPPED
            supervisor.ours._left_out()

    def init(self, step: Step) -> None:
        """Initialise every task in start order, but for those that are held or are initialised.

        What raises `SkipTask` is left out, with what depends on it and sets ``DEPS_OPTIONAL`` to
        False.

        ``step(what, task)`` is called before each and may raise to end the start.
        """
        reasons: dict[str, str] = {}
        for task in self:
            gone = task.name not in self._all  # removed meanwhile
            if gone or task.held or task in self._initialised:
                continue
            step("initTask", task)
            task.state = TaskState.STARTING
            try:
                if not task.ours.DEPS_OPTIONAL and (missing := missing_of(task.ours, self._all)):
                    why = reasons.get(missing)
                    raise SkipTask(f"{missing}: {why}" if why else f"{missing} is not there")
                _ = task.ours._call_wrappers  # known before anything of the task can be called
                self._hooks.call("sparts_task_init", task=task.task)
            except SkipTask as reason:
                reasons[task.name] = message_of(reason)
                task.ours.logger.warning("%s left out: %s", task.name, reasons[task.name])
                self.remove(task.name)
                continue
            except BaseException as error:
                task.fail_with(error)
                raise
            self._initialised[task] = None

    def start(self, step: Step) -> None:
        """Start every task in start order that is not started; ``step`` as in `init`."""
        for task in self:
            if task.held or task in self._started:
                continue
            self._started.add(task)
            step("start", task)
            self._hooks.call("sparts_task_start", task=task.task)
            task.start_returned()

    def stop(self, step: Step) -> list[tuple[str, BaseException]]:
        """Stop what was initialised, in reverse; return what each ``stop()`` and ``join()`` raised,
        with the name of its task.

        Every task that runs is stopped in reverse start order, but not before all that depend on it
        have been joined. Before that, those that were not initialised end what others wait for.
        """
        for task in self:
            if task not in self._initialised:
                _attempt(task, task.ours._left_out)
        errors: list[tuple[str, BaseException]] = []
        waiting: dict[Supervisor, None] = {}
        dependants: dict[Supervisor, list[Supervisor]] = {}
        for task in self._initialised:
            for need in self.dependencies(type(task.task)):
                dependants.setdefault(need, []).append(task)

        def join(task: Supervisor) -> None:
            step("join", task)
            errors.extend(_attempt(task, task.ours.join))
            waiting.pop(task, None)
            step("joined", task)
            ended = TaskState.DEAD if task.failed else TaskState.STOPPED
            errors.extend(_attempt(task, functools.partial(setattr, task, "state", ended)))

        for task in reversed(self._initialised):
            if task.state is TaskState.STOPPED:  # before the service, as somebody asked for it
                continue
            for dependant in dependants.get(task, ()):
                if dependant in waiting:
                    join(dependant)
            step("stop", task)
            stop = functools.partial(self._hooks.call, "sparts_task_stop", task=task.task)
            for action in (task.stopping, stop, task.stop):  # the last if a plugin kept `stop` back
                errors.extend(_attempt(task, action))
            waiting[task] = None
        for task in list(waiting):
            join(task)
        self._initialised.clear()
        return errors


def _attempt(task: Supervisor, action: Callable[[], object]) -> list[tuple[str, BaseException]]:
    try:
        action()
    except BaseException as error:
        log_error(task.ours.logger, "%s failed while stopping", task.name)
        return [(task.name, error)]
    return []
