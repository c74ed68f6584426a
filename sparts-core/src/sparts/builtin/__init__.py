"""The core's own hook plugins: what a service does that its kernel need not know.

Each module or package here implements hooks as a plugin of a third party does. They are named in
`sparts.plugins.BUILT_IN`, listed by ``sparts plugins``, and each is blocked by its own name.

This module declares the options that belong to the process of a service, as several of these
plugins read them, and how a process knows that it is one of several copies.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, ClassVar

from sparts.option_types import Expected, duration, file_mask, path
from sparts.options import Option, OptionGroup, option

if TYPE_CHECKING:
    from pathlib import Path


COPY_VARIABLE = "SPARTS_COPY"
"""The environment variable by which the parent tells a process that it is a copy, and of what."""
MOST_COPIES = 256
"""How many copies there may be."""


def fixed(**arguments: Any) -> Any:
    """Declare an option that counts from the start on, and that ``--help-all`` alone shows."""
    return option(**{"reloadable": False, "advanced": True} | arguments)


def switch(help: str, **arguments: Any) -> Any:
    """Declare such an option without a value: it is False until it is given."""
    return fixed(action="store_true", default=False, help=help, **arguments)


class ProcessOptions(OptionGroup):
    """Options of a built-in plugin that are shown under the title "process"."""

    OPT_PREFIX: ClassVar[str | None] = ""
    TITLE: ClassVar[str | None] = "process"


class Installing(ProcessOptions):
    """Options of `systemd` and `runit`."""

    install_folder: Option[Path] = fixed(
        type=path,
        metavar="FOLDER",
        help="where to write them; without it /etc/systemd/system (not root: "
        "~/.config/systemd/user), /etc/sv",
    )


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


def count(text: str) -> int:
    """A number of copies, or ``auto``: one for each CPU that this process may use."""
    number = usable_cpus() if text == "auto" else int(text) if text.isdecimal() else 0
    if not 1 <= number <= MOST_COPIES:
        raise Expected(f"a number from 1 to {MOST_COPIES}, or auto")
    return number


def usable_cpus() -> int:
    """Return how many CPUs this process may use: its affinity, and the limit of its container."""
    affinity = getattr(os, "sched_getaffinity", None)  # macOS has none
    found = len(affinity(0)) if affinity else os.cpu_count() or 1
    try:
        with open("/sys/fs/cgroup/cpu.max", encoding="ascii") as file:
            quota, period = file.read().split()
        return max(1, min(found, -(-int(quota) // int(period))))
    except (OSError, ValueError):  # no container, or no limit ("max")
        return found


class Processes(ProcessOptions):
    """Options of `processes`."""

    processes: Option[int] = fixed(
        type=count,
        metavar="N",
        help="run N copies of the service behind the same sockets (auto: one for each CPU); SIGHUP "
        "replaces them one after the other",
    )
    processes_watchdog: Option[float] = fixed(
        type=duration,
        default=60.0,
        metavar="DURATION",
        help="replace a copy that has not shown for this long that it works; 0: never",
    )
