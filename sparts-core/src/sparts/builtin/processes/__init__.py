"""``--processes N``: copies of a service behind the same sockets, started by a small parent.

`opening` opens what all copies share. `parent` starts, replaces and stops them, and runs no task.
`child` is one copy as the parent sees it, and `copying` what a copy does beside being an ordinary
service. `channel` carries messages between both, `relay` those of one copy to all. `sharing`
spreads connections evenly. This module is light: every service imports it.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, cast

from sparts.builtin import COPY_VARIABLE, Processes
from sparts.hookspecs import hookimpl
from sparts.shown import ours

if TYPE_CHECKING:
    import argparse
    from collections.abc import Generator

    from sparts.builtin.processes.copying import Copy
    from sparts.options import OptionGroup
    from sparts.vservice import VService

_started_in = ""


def copy_of(service: Any) -> Copy | None:
    """Return what a service knows of being a copy; None: it is none."""
    return cast("Copy | None", ours(service).hooks.kept.get("processes"))


@hookimpl
def sparts_options_add() -> type[OptionGroup]:
    """Add the options."""
    return Processes


@hookimpl(tryfirst=True)
def sparts_service_run(service_class: type[VService], options: argparse.Namespace) -> None:
    """Note the folder before anything changes it: copies are started there."""
    global _started_in
    if Processes.of(service_class, options).processes and COPY_VARIABLE not in os.environ:
        _started_in = _folder()


def _folder() -> str:
    """Return the working folder by the path that the shell came by: a link may soon lead to the
    next release."""
    path = os.environ.get("PWD", "")
    try:
        return path if os.path.samefile(path, ".") else os.getcwd()
    except OSError:
        return os.getcwd()


@hookimpl(wrapper=True, tryfirst=True, specname="sparts_process_wrap")
def be_copy(service: VService) -> Generator[None, Any, Any]:
    """Follow the parent, if this process is a copy."""
    if COPY_VARIABLE in os.environ:
        from sparts.builtin.processes.copying import Copy

        if (copy := Copy.inherited(service)) is not None:
            ours(service).hooks.kept["processes"] = copy
            copy.follow()
    return (yield)


@hookimpl
def sparts_process_wrap(service: VService) -> Any:
    """Run the parent of the copies in place of the service, if ``--processes`` asks for them."""
    if copy_of(service) is not None or not Processes(service).processes:
        return None
    from sparts.builtin.processes.opening import run_parent

    return run_parent(service, _started_in)


@hookimpl(tryfirst=True, specname="sparts_sockets_bind")
def hold_tasks(service: VService) -> None:
    """Hold the tasks that another copy runs; the parent says when this one is to run them."""
    if (copy := copy_of(service)) is not None:
        copy.hold(service)
