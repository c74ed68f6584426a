"""The options that every service has, and how it takes in that options change."""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from sparts import options, plugins
from sparts.errors import OptionError, SpartsError, log_error, message_of
from sparts.option_types import duration
from sparts.options import Option, option

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from sparts.kernel.inbox import Inbox
    from sparts.plugins.dispatch import Hooks
    from sparts.vtask import VTask


class ServiceOptions:
    """The built-in options of `sparts.vservice.VService`, its logging, and its reload."""

    if TYPE_CHECKING:
        name: str
        options: argparse.Namespace
        inbox: Inbox
        hooks: Hooks

        @property
        def logger(self) -> logging.Logger: ...  # noqa: D102
        def instances(self) -> list[VTask]: ...  # noqa: D102
        def keep_warning(self, message: str) -> int: ...  # noqa: D102
        def clearWarning(self, warning: int) -> bool: ...  # noqa: D102, N802
        def call_later(self, seconds: float, function: Callable[[], object]) -> None: ...  # noqa: D102

    DEFAULT_LOGLEVEL: ClassVar[str] = "DEBUG"
    DEFAULT_LOGFILE: ClassVar[str | None] = None
    DEFAULT_PID: ClassVar[str | None] = None
    """The path of the pid file; None: ``NAME.pid`` in ``/var/run`` or, if not root, elsewhere: see
    `sparts.builtin.daemon.pidfile.default_path`."""
    ENV_PREFIX: ClassVar[str | None] = None
    """What the options' environment variables begin with; None: ``NAME_`` of the class."""

    selected_tasks: Option[list[str]] = option(
        "tasks",
        nargs="*",
        metavar="NAME",
        help="run only these tasks and what they need; no name: list the tasks",
        reloadable=False,
    )
    _no_plugin = option(
        "no_plugin",
        type=plugins.kept_out,
        action="append",
        metavar="NAME",
        help="keep out a plugin, by its own or its distribution's name",
        reloadable=False,
        command_line_only=True,
        advanced=True,
    )
    start_timeout: Option[float] = option(
        type=duration,
        metavar="DURATION",
        help="how long the start may take before it fails",
        advanced=True,
    )
    stop_timeout: Option[float] = option(
        type=duration,
        default=25.0,
        metavar="DURATION",
        help="how long the stop may take before the process ends with status 70",
    )
    drain_time: Option[float] = option(
        type=duration,
        default=0.0,
        metavar="DURATION",
        help="how long to go on serving, not ready any more, before the stop",
        advanced=True,
    )

    def __init__(self) -> None:
        super().__init__()
        self._reload_warnings: dict[str, int] = {}
        self._rereads = False  # whether the options will be read again soon
        self._watch_ends: list[Callable[[], object]] = []
        self._log_ends: list[Callable[[], object]] = []

    # -- logging -----------------------------------------------------------------------------------

    def initLogging(self) -> None:  # noqa: N802
        """Set up logging by the options; override it to bring one's own.

        Called in the thread that runs the service, for each instance.
        """
        found = self.hooks.call("sparts_logging_configure", service=self)
        self._log_ends = [end for end in found if callable(end)]

    def close_logging(self) -> None:
        """Undo `initLogging`."""
        for end in reversed(self._log_ends):
            end()

    def warn_of_deprecated_options(self) -> None:
        """Log what was given and is deprecated; called once an instance, at its start."""
        if state := options.state_of(self.options):
            for dest, source in state.sources.items():
                if source.explicit and (instead := state.bindings[dest].option.deprecated):
                    self.logger.warning("%s is deprecated: %s", source.name, instead)

    # -- options -----------------------------------------------------------------------------------

    @property
    def loglevel(self) -> int:
        """The level that is logged from, as a number of the logging module."""
        level = self.getOption("level") or self.DEFAULT_LOGLEVEL
        return int(logging.getLevelName(level))

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

    # -- changes -----------------------------------------------------------------------------------

    def check_options(self, options: argparse.Namespace) -> None:
        """Raise `OptionError` if options contradict each other; extend it by rules of your own.

        Called when the service is made, after `preprocessOptions`, and before every change at run
        time, which is then refused as a whole. Called in the thread that makes the change. The
        default checks the service's own options, and calls `VTask.check_options` of all tasks.

        Args:
            options: the namespace with the new values; ``self.options`` has those of before.
        """
        drain = ServiceOptions.drain_time.read(self, options)
        stop = ServiceOptions.stop_timeout.read(self, options)
        if stop and drain and drain >= stop:
            raise OptionError(
                f"--drain-time ({drain:g} s) must be shorter than --stop-timeout ({stop:g} s), "
                f"which counts for the drain and the stop together."
            )
        for task in self.instances():
            task.check_options(options)

    def on_options_changed(self, names: frozenset[str]) -> None:
        """Learn that options changed at run time; see `VTask.on_options_changed`, told after it."""

    def reload(self) -> None:
        """Reopen the log file, read configuration and certificates again, tell the tasks; in the
        lifecycle thread (SIGHUP).

        What fails is logged and becomes a warning until the next reload; the rest goes on.
        """
        for what in list(self._reload_warnings):
            self._forget_failure(what)
        for name, error in self.hooks.notify("sparts_service_reload", service=self):
            self._reload_failed(name, error)
        self.logger.info("Reloaded")

    def reload_parts(self) -> None:
        """Read the options again, then have each task take in what changed."""
        self._read_options()
        for task in self.instances():
            if task.running:
                self._attempt(task.name, task.reload)

    def _read_options(self) -> None:
        self._rereads = False  # before they are read: what changes meanwhile is read once more
        self._attempt("options", lambda: options.reload_options(self))

    def watch_sources(self) -> None:
        """Have the sources of options tell when values change, and read them again then.

        Called once an instance, in the lifecycle thread, after its start. What has changed since
        the options were read is read now. A source that fails is a warning, as at a reload.
        """
        state = options.state_of(self.options)
        for source in state.further if state else ():
            if (watch := getattr(source, "watch", None)) is not None:
                self._attempt(source.name, partial(self._watch, watch))

    def _watch(self, watch: Callable[[Callable[[], None]], object]) -> None:
        end = watch(self._source_changed)
        if callable(end):
            self._watch_ends.append(end)
        self._source_changed()

    def _source_changed(self) -> None:
        """Have the lifecycle thread read the options again; from any thread."""
        if not self._rereads:
            self._rereads = True
            self.call_later(0.0, self._read_options)

    def unwatch_sources(self) -> None:
        """End what `watch_sources` began; in the lifecycle thread, when the tasks have ended."""
        while self._watch_ends:
            try:
                self._watch_ends.pop()()
            except BaseException as error:
                log_error(self.logger, "A watch of an option source could not end", error=error)

    def _attempt(self, what: str, reload: Callable[[], object]) -> None:
        try:
            reload()
        except BaseException as error:  # a reload asks for no exit
            self._reload_failed(what, error)
        else:
            self._forget_failure(what)

    def _reload_failed(self, what: str, error: BaseException) -> None:
        plain = isinstance(error, SpartsError | OSError)  # their messages say it all
        said = message_of(error)
        text = "Reload of %s failed: %s"
        log_error(self.logger, text, what, said, error=None if plain else error)
        warning = self.keep_warning(f"Reload of {what} failed: {said}")
        self._forget_failure(what)
        self._reload_warnings[what] = warning

    def _forget_failure(self, what: str) -> None:
        if warning := self._reload_warnings.pop(what, 0):
            self.clearWarning(warning)

    def options_changed(self, names: frozenset[str]) -> None:
        """Act on options that changed, then tell the tasks that run and the service."""
        for plugin, error in self.hooks.notify("sparts_options_change", service=self, names=names):
            text = "Hook plugin %s could not take changed options"
            log_error(self.logger, text, plugin, error=error)
        owners: list[Any] = [task for task in self.instances() if task.running]
        for owner in (*owners, self):
            try:
                owner.on_options_changed(names)
            except Exception:
                log_error(owner.logger, "%s could not take its changed options", owner.name)
