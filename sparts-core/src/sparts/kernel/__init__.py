"""What runs a service. Here: what the kernel keeps of one instance, past names of subclasses.

A restart makes the next instance from the same options.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sparts.errors import call_plain
from sparts.inbox import Inbox, Message
from sparts.kernel.health import Health
from sparts.kernel.running import RunningTasks
from sparts.options.sources import warn_of_deprecated
from sparts.reloading import Reloading
from sparts.settings import Settings
from sparts.shown import ours, warn_of_overwritten
from sparts.stats import Stats
from sparts.taskset import Tasks

if TYPE_CHECKING:
    import argparse
    import logging
    from collections.abc import Callable

    from sparts.dispatch import Hooks
    from sparts.protocols import Service


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
        self._warned: set[tuple[Any, str]] = set()

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
        self._log_ends = [end for end in found if callable(end)]

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
