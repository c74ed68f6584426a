"""The option ``--reload``, and what a service under it does. Light: every service imports it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, ClassVar

from sparts.builtin import ProcessOptions, switch
from sparts.dev.reload import RELOADED
from sparts.hookspecs import hookimpl
from sparts.options import Option
from sparts.settings import Settings

if TYPE_CHECKING:
    import argparse

    from sparts.options import OptionGroup
    from sparts.vservice import VService


class Reload(ProcessOptions):
    """The option of `reload`."""

    TITLE: ClassVar[str | None] = "life"

    reload: Option[bool] = switch(
        "for development: start the service again when a source file changes"
    )


@hookimpl(trylast=True)
def sparts_options_add() -> type[OptionGroup]:
    """Add the option, behind those of the core."""
    return Reload


@hookimpl(trylast=True)
def sparts_service_run(service_class: type[VService], options: argparse.Namespace) -> int | None:
    """Run the parent in place of the service, if ``--reload`` is given and nothing else is done
    instead, such as a dry run.
    """
    if RELOADED in os.environ:
        from sparts.dev.reload.child import begin

        begin(options)
    elif Reload.of(service_class, options).reload:
        from sparts.dev.reload.parent import run

        return run(timeout=Settings.of(service_class, options).stop_timeout)
    return None


@hookimpl(trylast=True)
def sparts_sockets_bind(service: VService) -> None:
    """Hand the sockets of a child to its parent."""
    if os.environ.get(RELOADED):
        from sparts.dev.reload.child import hand_over

        hand_over(service)
