"""How many connections a server task may have open, by an option that all of them share."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from sparts.errors import OptionError
from sparts.options import Option, option, prefix_of

if TYPE_CHECKING:
    import argparse


class ConnectionLimit:
    """A mixin for server tasks: the option ``max_connections``; the task has to keep to it."""

    MAX_CONNECTIONS: ClassVar[int] = 10_000
    """The default of ``--PREFIX-max-connections``."""

    max_connections: Option[int] = option(
        type=int,
        default=lambda cls: cls.MAX_CONNECTIONS,
        metavar="N",
        help="how many connections may be open; a further client replaces an idle one, or else"
        " is disconnected",
        reloadable=False,
        advanced=True,
    )

    def check_options(self, options: argparse.Namespace) -> None:
        """Refuse a limit that lets nobody in; see `VTask.check_options`."""
        super().check_options(options)  # type: ignore[misc]
        limit = ConnectionLimit.max_connections.read(self, options)
        if limit is not None and limit < 1:
            flag = f"--{prefix_of(type(self)).replace('_', '-')}-max-connections"
            raise OptionError(f"{flag} must be 1 or more, not {limit}.")
