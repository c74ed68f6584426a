"""The options that every service has, and how it takes in that options change."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, ClassVar

from sparts import logs, options
from sparts.errors import OptionError, SpartsError, log_error, message_of
from sparts.inbox import Message
from sparts.option_types import duration, file_mask, path
from sparts.options import option

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from sparts.inbox import Inbox
    from sparts.net.listeners import Listeners
    from sparts.vtask import VTask


LOG_OPTIONS = ("logfile", "log_format", "log_time")


class ServiceOptions:
    """The built-in options of `sparts.vservice.VService`, its logging, and its reload."""

    if TYPE_CHECKING:
        name: str
        options: argparse.Namespace
        inbox: Inbox
        listeners: Listeners

        @property
        def logger(self) -> logging.Logger: ...  # noqa: D102
        def instances(self) -> list[VTask]: ...  # noqa: D102
        def keep_warning(self, message: str) -> int: ...  # noqa: D102
        def clearWarning(self, warning: int) -> bool: ...  # noqa: D102, N802

    DEFAULT_LOGLEVEL: ClassVar[str] = "DEBUG"
    DEFAULT_LOGFILE: ClassVar[str | None] = None
    DEFAULT_PID: ClassVar[str | None] = None
    """The path of the pid file; None: ``NAME.pid`` in ``/var/run`` or, if not root, elsewhere: see
    `sparts.cli.pidfile.default_path`."""
    ENV_PREFIX: ClassVar[str | None] = None
    """What the options' environment variables begin with; None: ``NAME_`` of the class."""

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
        advanced=True,
    )
    log_time = option(
        choices=logs.TIMES,
        help="whether text lines begin with the time; without it, those of --logfile do",
        reloadable=False,
        advanced=True,
    )
    log_level_for = option(
        type=logs.level_for,
        action="append",
        metavar="NAME=LEVEL",
        help="the level of one logger, such as tornado.access=INFO; may be repeated",
        advanced=True,
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
        type=duration,
        metavar="DURATION",
        help="how long the start may take before it fails",
        advanced=True,
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
        advanced=True,
    )

    daemon = option(
        action="store_true",
        default=False,
        reloadable=False,
        help="run in the background; return when the service is ready, or has failed to start",
        advanced=True,
    )
    pidfile = option(
        default=lambda cls: cls.DEFAULT_PID,
        metavar="FILE",
        reloadable=False,
        help="pid file of --daemon, --status and --kill; without it NAME.pid in /var/run (root) or "
        "$XDG_RUNTIME_DIR",
        advanced=True,
    )
    show_status = option(
        "status",
        action="store_true",
        default=False,
        reloadable=False,
        help="tell whether the service runs, by its pid file, and exit with 0 (it does) or 1",
        advanced=True,
    )
    kill = option(
        action="store_true",
        default=False,
        reloadable=False,
        help="stop the service that runs, by its pid file, wait until it is gone, and exit",
        advanced=True,
    )
    kill_timeout = option(
        type=duration,
        default=30.0,
        metavar="DURATION",
        reloadable=False,
        help="how long --kill waits before it gives up with status 1",
        advanced=True,
    )
    systemd_install = option(
        action="store_true",
        default=False,
        help="write systemd units that run this command line, and exit (--dryrun prints them)",
        reloadable=False,
        advanced=True,
    )
    runit_install = option(
        action="store_true",
        default=False,
        help="write a runit folder that runs this command line, and exit (--dryrun prints it)",
        reloadable=False,
        advanced=True,
    )
    install_folder = option(
        type=path,
        metavar="FOLDER",
        help="where to write them; without it /etc/systemd/system (not root: "
        "~/.config/systemd/user), /etc/sv",
        reloadable=False,
        advanced=True,
    )
    run_as_user = option(
        "user",
        metavar="USER",
        reloadable=False,
        help="user to become, from root, once all sockets are bound",
        advanced=True,
    )
    run_as_group = option(
        "group",
        metavar="GROUP",
        reloadable=False,
        help="group to become, in place of the user's own",
        advanced=True,
    )
    file_mask = option(
        "umask",
        type=file_mask,
        metavar="OCTAL",
        reloadable=False,
        help="mask of the modes of new files, such as 027",
        advanced=True,
    )
    working_folder = option(
        "chdir",
        metavar="FOLDER",
        reloadable=False,
        help="folder to change to first; relative paths of other options begin there",
        advanced=True,
    )

    def __init__(self) -> None:
        super().__init__()
        self._logging: logs.Logging | None = None
        self._reload_warnings: list[int] = []
        self._log_warning = 0

    @property
    def asks_of_its_process(self) -> bool:
        """Whether options ask for a daemon, a pid file, another user, folder or file mask."""
        asked = (self.run_as_user, self.run_as_group, self.working_folder, self.daemon)
        pid_file = options.source_of(self.options, "pidfile").explicit
        return any(asked) or self.file_mask is not None or pid_file

    # -- logging -----------------------------------------------------------------------------------

    def initLogging(self) -> None:  # noqa: N802
        """Set up logging by the options; override it to bring one's own.

        Called in the thread that runs the service, for each instance.
        """
        self._logging = logs.configure(
            self.name,
            level=self.level,
            logfile=self.logfile,
            format=self.log_format,
            time=self.log_time,
            levels=self.log_level_for or (),
            package=type(self).__module__,
            source=options.source_of(self.options, "logfile").name,
            asked=any(options.source_of(self.options, name).explicit for name in LOG_OPTIONS),
            before=self._logging,
        )
        self._logging.watch(self._log_changed)

    def _log_changed(self, trouble: str) -> None:
        """Take note of what is wrong with the log, from whoever logs, who may hold any lock."""
        warn = ("log", 0.0, lambda: self._warn_of_log(trouble))
        self.inbox.put(Message("later", self, warn))

    def _warn_of_log(self, trouble: str) -> None:
        before = self._log_warning
        self._log_warning = self.keep_warning(trouble) if trouble else 0
        if before:
            self.clearWarning(before)

    def close_logging(self) -> None:
        """Undo `initLogging`."""
        if self._logging is not None:
            self._logging.close()

    def warn_of_deprecated_options(self) -> None:
        """Log what was given and is deprecated; called once an instance, at its start."""
        if state := options.state_of(self.options):
            for dest, source in state.sources.items():
                if source.explicit and (instead := state.bindings[dest].option.deprecated):
                    self.logger.warning("%s is deprecated: %s", source.name, instead)

    def log_takes_output(self) -> bool:
        """Have the log file take what is written to standard output and error; False: no file."""
        return self._logging is not None and self._logging.take_output()

    def give_files(self, uid: int, gid: int) -> None:
        """Make the log file and the files of Unix sockets another user's, before becoming it."""
        if self._logging is not None:
            self._logging.give(uid, gid)
        self.listeners.give(uid)

    # -- options -----------------------------------------------------------------------------------

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
        for warning in self._reload_warnings:
            self.clearWarning(warning)
        self._reload_warnings.clear()
        if self._logging is not None:
            self._attempt("log file", self._logging.reopen)
        self._attempt("options", lambda: options.reload_options(self))
        for what, reload in self.listeners.reloads():
            self._attempt(what, reload)
        for task in self.instances():
            if task.running:
                self._attempt(task.name, task.reload)
        self.logger.info("Reloaded")

    def _attempt(self, what: str, reload: Callable[[], object]) -> None:
        try:
            reload()
        except BaseException as error:  # a reload asks for no exit
            plain = isinstance(error, SpartsError | OSError)  # their messages say it all
            said = message_of(error)
            text = "Reload of %s failed: %s"
            log_error(self.logger, text, what, said, error=None if plain else error)
            message = f"Reload of {what} failed: {said}"
            self._reload_warnings.append(self.keep_warning(message))

    def options_changed(self, names: frozenset[str]) -> None:
        """Act on options that changed, then tell the tasks that run and the service."""
        if self._logging is not None and names & {"level", "log_level_for"}:
            self._logging.set_levels(self.level, self.log_level_for or ())
        owners: list[Any] = [task for task in self.instances() if task.running]
        for owner in (*owners, self):
            try:
                owner.on_options_changed(names)
            except Exception:
                log_error(owner.logger, "%s could not take its changed options", owner.name)
