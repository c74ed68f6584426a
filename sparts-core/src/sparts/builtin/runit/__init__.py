"""``--runit-install``: a folder for runit."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from sparts.builtin.installing import Installing
from sparts.hookspecs import hookimpl
from sparts.options import Option, OptionGroup, option

if TYPE_CHECKING:
    import argparse

    from sparts.vservice import VService


class Runit(OptionGroup):
    """Options of `runit`."""

    OPT_PREFIX: ClassVar[str | None] = ""
    TITLE: ClassVar[str | None] = "process"

    runit_install: Option[bool] = option(
        action="store_true",
        default=False,
        help="write a runit folder that runs this command line, and exit (--dryrun prints it)",
        reloadable=False,
        advanced=True,
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
