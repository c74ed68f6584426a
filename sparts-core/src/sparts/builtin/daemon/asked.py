"""The options of the built-in plugin `daemon`."""

from __future__ import annotations

from typing import ClassVar

from sparts.option_types import duration, file_mask
from sparts.options import Option, OptionGroup, option


class Daemon(OptionGroup):
    """Options of `daemon`."""

    OPT_PREFIX: ClassVar[str | None] = ""
    TITLE: ClassVar[str | None] = "process"

    daemon: Option[bool] = option(
        action="store_true",
        default=False,
        reloadable=False,
        help="run in the background; return when the service is ready, or has failed to start",
        advanced=True,
    )
    pidfile: Option[str] = option(
        default=lambda cls: cls.DEFAULT_PID,
        metavar="FILE",
        reloadable=False,
        help="pid file of --daemon, --status and --kill; without it NAME.pid in /var/run (root) or "
        "$XDG_RUNTIME_DIR",
        advanced=True,
    )
    status: Option[bool] = option(
        action="store_true",
        default=False,
        reloadable=False,
        help="look at the pid file, and exit with 0 if the service runs, or with 1",
        advanced=True,
    )
    kill: Option[bool] = option(
        action="store_true",
        default=False,
        reloadable=False,
        help="stop the service that runs, by its pid file, wait until it is gone, and exit",
        advanced=True,
    )
    kill_timeout: Option[float] = option(
        type=duration,
        default=30.0,
        metavar="DURATION",
        reloadable=False,
        help="time limit for --kill; then it gives up with status 1",
        advanced=True,
    )
    user: Option[str] = option(
        metavar="USER",
        reloadable=False,
        help="user to run as, instead of root, once all sockets are bound",
        advanced=True,
    )
    group: Option[str] = option(
        metavar="GROUP",
        reloadable=False,
        help="group to run as, instead of the user's own",
        advanced=True,
    )
    umask: Option[int] = option(
        type=file_mask,
        metavar="OCTAL",
        reloadable=False,
        help="mask of the modes of new files, such as 027",
        advanced=True,
    )
    chdir: Option[str] = option(
        metavar="FOLDER",
        reloadable=False,
        help="folder to change to first; relative paths of other options begin there",
        advanced=True,
    )
