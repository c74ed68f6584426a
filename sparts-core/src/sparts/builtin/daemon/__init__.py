"""``--daemon``, ``--pidfile``, ``--status``, ``--kill``, ``--user``, ``--group``, ``--umask``,
``--chdir``: what a service does to its process, and commands that control it by its pid file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sparts.builtin import Daemon
from sparts.hookspecs import hookimpl
from sparts.shown import ours

if TYPE_CHECKING:
    import argparse
    from collections.abc import Generator

    from sparts.builtin.daemon.process import Process
    from sparts.options import OptionGroup
    from sparts.vservice import VService


_running: Process | None = None  # what this process was asked to do, while a service runs in it


def wanted_process(service: VService) -> Process | None:
    """Return what the options of a service ask of its process; None: nothing.

    Raises:
        OptionError: there is no such user or group, or it may not be assumed.
    """
    asked, whole = Daemon(service), "processes" not in ours(service).hooks.kept
    pid_file = whole and asked.source("pidfile").explicit  # else the parent of the copies has it
    wanted = (asked.user, asked.group, asked.chdir, asked.daemon, pid_file)
    if not any(wanted) and ours(service).getOption("umask") is None:
        return None
    from sparts.builtin.daemon.process import Process

    return Process(service, asked, whole)


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
    _running = process = wanted_process(service)
    if process is None:
        return (yield)
    try:
        return (yield from process.around())
    finally:
        _running = None


def give_files(service: VService) -> None:
    """Make the files that are open those of the user that ``--user`` names."""
    if _running is not None:
        _running.give_files(service)


@hookimpl
def sparts_privileges_drop(service: VService) -> None:
    """Become the user that ``--user`` names."""
    if _running is not None:
        _running.drop_privileges(service)


@hookimpl
def sparts_service_ready(service: VService, ready: bool) -> None:
    """Tell the starter of a daemon that it is ready."""
    if ready and _running is not None:
        _running.ready(service)
