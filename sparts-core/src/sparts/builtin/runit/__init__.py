"""``--runit-install``: a folder for runit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sparts.builtin import Installing, ProcessOptions, switch
from sparts.hookspecs import hookimpl
from sparts.options import Option, OptionGroup

if TYPE_CHECKING:
    import argparse

    from sparts.vservice import VService


class Runit(ProcessOptions):
    """Options of `runit`."""

    runit_install: Option[bool] = switch(
        "write a runit folder that runs this command line, and exit (--dryrun prints it)"
    )


@hookimpl
def sparts_options_add() -> list[type[OptionGroup]]:
    """Add the options."""
    return [Runit, Installing]


@hookimpl
def sparts_service_run(
    service_class: type[VService], options: argparse.Namespace, name: str | None
) -> int | None:
    """Write a folder instead of running, if ``--runit-install`` is given."""
    if not Runit.of(service_class, options).runit_install:
        return None
    from sparts.builtin.runit.folder import install

    return install(service_class, options, name)
