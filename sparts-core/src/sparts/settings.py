"""The options of the kernel itself: which tasks and plugins there are, and how long things take.

And how a running service takes in that options and files have changed.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from sparts import entry_points, options
from sparts.errors import OptionError, SpartsError, log_error, message_of
from sparts.option_types import duration
from sparts.options import Option, OptionGroup, option

if TYPE_CHECKING:
    from collections.abc import Callable

    from sparts.protocols import Instance


class Settings(OptionGroup):
    """Options of every service."""

    OPT_PREFIX: ClassVar[str | None] = ""
    TITLE: ClassVar[str | None] = "life"

    tasks: Option[list[str]] = option(
        nargs="*",
        metavar="NAME",
        help="run only these tasks and what they need; no name: list the tasks",
        reloadable=False,
    )
    no_plugin: Option[list[str]] = option(
        type=entry_points.kept_out,
        action="append",
        metavar="NAME",
        help="do not load a plugin, by its own or its distribution's name",
        reloadable=False,
        command_line_only=True,
        advanced=True,
    )
    start_timeout: Option[float] = option(
        type=duration,
        metavar="DURATION",
        help="time limit for the start; then it fails",
        advanced=True,
    )
    stop_timeout: Option[float] = option(
        type=duration,
        default=25.0,
        metavar="DURATION",
        help="time limit for the stop; then the process ends with status 70",
    )
    drain_time: Option[float] = option(
        type=duration,
        default=0.0,
        metavar="DURATION",
        help="keep serving for this long after a stop is requested, while reporting not ready",
        advanced=True,
    )

    def check(self) -> None:
        """Raise `OptionError` if these options contradict each other."""
        drain, stop = self.drain_time, self.stop_timeout
        if stop and drain and drain >= stop:
            raise OptionError(
                f"--drain-time ({drain:g} s) must be shorter than --stop-timeout ({stop:g} s), "
                f"which counts for the drain and the stop together."
            )


# -- changes while the service runs ----------------------------------------------------------------


class Reloading:
    """Reloads one instance of a service, and tells its tasks of changed options."""

    def __init__(self, instance: Instance) -> None:
        self._of = instance
        self._warnings: dict[str, int] = {}
        self._rereads = False  # whether the options will be read again soon
        self._watch_ends: list[Callable[[], object]] = []

    def reload(self) -> None:
        """Have hooks and tasks take in changed files and options; in the lifecycle thread.

        What fails is logged and becomes a warning until the next reload; the rest goes on.
        """
        for what in list(self._warnings):
            self._forget_failure(what)
        service = self._of.service
        for name, error in self._of.hooks.notify("sparts_service_reload", service=service):
            self._failed(name, error)
        self._of.ours.logger.info("Reloaded")

    def reload_parts(self) -> None:
        """Read the options again, then have each task take in what changed."""
        self._read_options()
        for task in self._of.running:
            if task.running:
                self.attempt(task.name, task.ours.reload)

    def _read_options(self) -> None:
        self._rereads = False  # before they are read: what changes meanwhile is read once more
        self.attempt("options", lambda: options.reload_options(self._of))

    def watch_sources(self) -> None:
        """Have the sources of options report when values change, and read them again then.

        Called once an instance, in the lifecycle thread, after its start. What has changed since
        the options were read is read now. A source that fails is a warning, as at a reload.
        """
        state = options.state_of(self._of.options)
        for source in state.further if state else ():
            if (watch := getattr(source, "watch", None)) is not None:
                self.attempt(source.name, partial(self._watch, watch))

    def _watch(self, watch: Callable[[Callable[[], None]], object]) -> None:
        end = watch(self._source_changed)
        if callable(end):
            self._watch_ends.append(end)
        self._source_changed()

    def _source_changed(self) -> None:
        """Have the lifecycle thread read the options again; from any thread."""
        if not self._rereads:
            self._rereads = True
            self._of.health.call_later(0.0, self._read_options)

    def unwatch_sources(self) -> None:
        """End what `watch_sources` began; in the lifecycle thread, when the tasks have ended."""
        while self._watch_ends:
            try:
                self._watch_ends.pop()()
            except BaseException as error:
                text = "A watch of an option source could not end"
                log_error(self._of.ours.logger, text, error=error)

    def attempt(self, what: str, reload: Callable[[], object]) -> None:
        """Call what reloads a part; a failure is a warning until the next time."""
        try:
            reload()
        except BaseException as error:  # a reload asks for no exit
            self._failed(what, error)
        else:
            self._forget_failure(what)

    def _failed(self, what: str, error: BaseException) -> None:
        plain = isinstance(error, SpartsError | OSError)  # their messages say it all
        said = message_of(error)
        text = "Reload of %s failed: %s"
        log_error(self._of.ours.logger, text, what, said, error=None if plain else error)
        warning = self._of.health.warn(f"Reload of {what} failed: {said}")
        self._forget_failure(what)
        self._warnings[what] = warning

    def _forget_failure(self, what: str) -> None:
        if warning := self._warnings.pop(what, 0):
            self._of.health.clear_warning(warning)

    def options_changed(self, names: frozenset[str]) -> None:
        """Act on options that changed, then inform the tasks that run and the service."""
        of = self._of
        found = of.hooks.notify("sparts_options_change", service=of.service, names=names)
        for plugin, error in found:
            text = "Hook plugin %s could not take changed options"
            log_error(of.ours.logger, text, plugin, error=error)
        owners: list[Any] = [task.ours for task in of.running if task.running]
        for owner in (*owners, of.ours):
            try:
                owner.on_options_changed(names)
            except BaseException:
                log_error(owner.logger, "%s could not take its changed options", owner.name)
