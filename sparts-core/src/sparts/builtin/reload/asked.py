"""The option of the built-in plugin `reload`, and how a process knows that it is the child."""

from __future__ import annotations

from typing import ClassVar

from sparts.options import Option, OptionGroup, option

VARIABLE = "SPARTS_RELOADED_BY"
"""The environment variable by which the parent tells a process that it is the child."""


class Reload(OptionGroup):
    """Options of `reload`."""

    OPT_PREFIX: ClassVar[str | None] = ""
    TITLE: ClassVar[str | None] = "life"

    reload: Option[bool] = option(
        action="store_true",
        default=False,
        help="for development: start the service again when a source file changes",
        reloadable=False,
        advanced=True,
    )
