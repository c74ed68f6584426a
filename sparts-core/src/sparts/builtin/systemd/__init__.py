"""``--systemd-install``: units for systemd."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sparts.builtin.installing import Installing
from sparts.hookspecs import hookimpl
from sparts.options import OptionGroup, option

if TYPE_CHECKING:
    import argparse

    from sparts.vservice import VService


class Systemd(OptionGroup):
    """Options of `systemd`."""

    OPT_PREFIX = ""
    TITLE = "process"

    systemd_install = option(
        action="store_true",
        default=False,
        help="write systemd units that run this command line, and exit (--dryrun prints them)",
        reloadable=False,
        advanced=True,
    )


@hookimpl
def sparts_options_add() -> list[type[OptionGroup]]:
    """Add the options."""
    return [Systemd, Installing]


@hookimpl
def sparts_service_run(
    service_class: type[VService], options: argparse.Namespace, name: str | None
) -> int | None:
    """Write units instead of running, if ``--systemd-install`` is given."""
    if not Systemd.of(service_class, options).systemd_install:
        return None
    from sparts.builtin.systemd.units import install

    return install(service_class, options, name)
