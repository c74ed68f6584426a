"""The option of the built-in plugin `reload`, and how a process knows that it is the child."""

from __future__ import annotations

from typing import ClassVar

from sparts.builtin.declaring import ProcessOptions, switch
from sparts.options import Option

VARIABLE = "SPARTS_RELOADED_BY"
"""The environment variable by which the parent tells a process that it is the child."""


class Reload(ProcessOptions):
    """Options of `reload`."""

    TITLE: ClassVar[str | None] = "life"

    reload: Option[bool] = switch(
        "for development: start the service again when a source file changes"
    )
