"""The options of the kernel itself: which tasks and plugins there are, and how long things take."""

from __future__ import annotations

from typing import ClassVar

from sparts import entry_points
from sparts.errors import OptionError
from sparts.option_types import duration
from sparts.options import Option, OptionGroup, option


class Settings(OptionGroup):
    """Options of every service."""

    OPT_PREFIX: ClassVar[str | None] = ""
    TITLE: ClassVar[str | None] = "life"

    tasks: Option[list[str]] = option(
        nargs="*",
        metavar="NAME",
        help="run only these tasks and what they need; no name: list the tasks",
        reloadable=False,
    )
    no_plugin: Option[list[str]] = option(
        type=entry_points.kept_out,
        action="append",
        metavar="NAME",
        help="do not load a plugin, by its own or its distribution's name",
        reloadable=False,
        command_line_only=True,
        advanced=True,
    )
    start_timeout: Option[float] = option(
        type=duration,
        metavar="DURATION",
        help="time limit for the start; then it fails",
        advanced=True,
    )
    stop_timeout: Option[float] = option(
        type=duration,
        default=25.0,
        metavar="DURATION",
        help="time limit for the stop; then the process ends with status 70",
    )
    drain_time: Option[float] = option(
        type=duration,
        default=0.0,
        metavar="DURATION",
        help="keep serving for this long after a stop is requested, while reporting not ready",
        advanced=True,
    )

    def check(self) -> None:
        """Raise `OptionError` if these options contradict each other."""
        drain, stop = self.drain_time, self.stop_timeout
        if stop and drain and drain >= stop:
            raise OptionError(
                f"--drain-time ({drain:g} s) must be shorter than --stop-timeout ({stop:g} s), "
                f"which counts for the drain and the stop together."
            )
