"""The options of the built-in plugin `daemon`."""

from __future__ import annotations

from sparts.builtin.declaring import ProcessOptions, fixed, switch
from sparts.option_types import duration, file_mask
from sparts.options import Option


class Daemon(ProcessOptions):
    """Options of `daemon`."""

    daemon: Option[bool] = switch(
        "run in the background; return when the service is ready, or has failed to start"
    )
    pidfile: Option[str] = fixed(
        default=lambda cls: cls.DEFAULT_PID,
        metavar="FILE",
        help="pid file of --daemon, --status and --kill; without it NAME.pid in /var/run (root) or "
        "$XDG_RUNTIME_DIR",
    )
    status: Option[bool] = switch(
        "look at the pid file, and exit with 0 if the service runs, or with 1"
    )
    kill: Option[bool] = switch(
        "stop the service that runs, by its pid file, wait until it is gone, and exit"
    )
    kill_timeout: Option[float] = fixed(
        type=duration,
        default=30.0,
        metavar="DURATION",
        help="time limit for --kill; then it gives up with status 1",
    )
    user: Option[str] = fixed(
        metavar="USER", help="user to run as, instead of root, once all sockets are bound"
    )
    group: Option[str] = fixed(metavar="GROUP", help="group to run as, instead of the user's own")
    umask: Option[int] = fixed(
        type=file_mask, metavar="OCTAL", help="mask of the modes of new files, such as 027"
    )
    chdir: Option[str] = fixed(
        metavar="FOLDER",
        help="folder to change to first; relative paths of other options begin there",
    )
