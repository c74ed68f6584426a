"""``--daemon``, ``--pidfile``, ``--status``, ``--kill``, ``--user``, ``--group``, ``--umask``,
``--chdir``: what a service does to its process, and whoever controls it by its pid file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sparts.hookspecs import hookimpl
from sparts.option_types import duration, file_mask
from sparts.options import OptionGroup, option

if TYPE_CHECKING:
    import argparse
    from collections.abc import Generator

    from sparts.builtin.daemon.process import Process
    from sparts.vservice import VService


class Daemon(OptionGroup):
    """Options of `daemon`."""

    OPT_PREFIX = ""
    TITLE = "process"

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
    status = option(
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
    user = option(
        metavar="USER",
        reloadable=False,
        help="user to become, from root, once all sockets are bound",
        advanced=True,
    )
    group = option(
        metavar="GROUP",
        reloadable=False,
        help="group to become, in place of the user's own",
        advanced=True,
    )
    umask = option(
        type=file_mask,
        metavar="OCTAL",
        reloadable=False,
        help="mask of the modes of new files, such as 027",
        advanced=True,
    )
    chdir = option(
        metavar="FOLDER",
        reloadable=False,
        help="folder to change to first; relative paths of other options begin there",
        advanced=True,
    )


_running: Process | None = None  # what this process was asked to do, while a service runs in it


def wanted_process(service: VService) -> Process | None:
    """Return what the options of a service ask of its process; None: nothing.

    Raises:
        OptionError: there is no such user or group, or it may not be assumed.
    """
    asked = Daemon(service)
    wanted = (asked.user, asked.group, asked.chdir, asked.daemon, asked.source("pidfile").explicit)
    if not any(wanted) and service.getOption("umask") is None:
        return None
    from sparts.builtin.daemon.process import Process

    return Process(service, asked)


@hookimpl
def sparts_options_add() -> type[OptionGroup]:
    """Add the options."""
    return Daemon


@hookimpl
def sparts_service_run(
    service_class: type[VService], options: argparse.Namespace, name: str | None
) -> int | None:
    """Do what ``--status`` or ``--kill`` ask for."""
    asked = Daemon.of(service_class, options)
    if not (asked.status or asked.kill):
        return None
    from sparts.builtin.daemon.process import control

    return control(service_class, asked, name)


@hookimpl(wrapper=True)
def sparts_process_wrap(service: VService) -> Generator[None, Any, Any]:
    """Leave the terminal, hold the pid file and so on, as the options ask."""
    global _running
    process = wanted_process(service)
    if process is None:
        return (yield)
    with process.around(service) as ended:
        _running = process
        try:
            ended.append((yield))
        finally:
            _running = None
    return ended[0]


@hookimpl
def sparts_privileges_drop(service: VService) -> None:
    """Become the user that ``--user`` names."""
    if _running is not None:
        _running.drop_privileges(service)


@hookimpl
def sparts_service_ready(service: VService, ready: bool) -> None:
    """Tell whoever started a daemon that it is ready."""
    if ready and _running is not None:
        _running.ready(service)
